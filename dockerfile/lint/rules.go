package lint

// Rule is one thing to look for.
type Rule struct {
	// Code is its first name, Aliases are those that other linters have for the same.
	Code    string
	Aliases []string
	// Name says what it finds in a few words.
	Name string
	// Severity is that of its findings, unless a configuration gives another.
	Severity Severity
	// Reason says what is bad about it, Fix what to do.
	Reason, Fix string
}

// Rules lists all rules: BuildKit's, ours, hadolint's, ShellCheck's, each in the order of their codes. The caller owns the list.
func Rules() []Rule {
	out := append(buildRules(), ownRules()...)
	out = append(out, fileRules()...)
	out = append(out, packageRules()...)
	out = append(out, shellRules()...)
	return append(out, portableRules()...)
}

// table finds rules by their names.
func table() map[string]*Rule {
	list := Rules()
	t := make(map[string]*Rule, len(list)+16)
	for i := range list {
		r := &list[i]
		t[r.Code] = r
		for _, a := range r.Aliases {
			t[a] = r
		}
	}
	return t
}

// Find finds a rule by one of its names.
func Find(code string) (Rule, bool) {
	if r := table()[code]; r != nil {
		return *r, true
	}
	return Rule{}, false
}

// buildRules are BuildKit's checks. Those that need a base image or a context are found by a build.
func buildRules() []Rule {
	return []Rule{
		{"ConsistentInstructionCasing", nil, "instructions in different case", Warning, "A file in one case is easier to read.", "Write all instructions in the case that most have."},
		{"CopyIgnoredFile", nil, "a source that .dockerignore leaves out", Warning, "COPY will not find the file.", "Take the file out of .dockerignore, or the source out of the instruction."},
		{"DuplicateStageName", []string{"DL3024"}, "two stages of one name", Warning, "Only the last of them can be named.", "Give each stage a name of its own."},
		{"ExposeInvalidFormat", nil, "EXPOSE with an address or a host port", Warning, "EXPOSE declares ports of the container; where they are published is said by run.", "Write the container's port alone."},
		{"ExposeProtoCasing", nil, "a protocol in capitals", Warning, "Tools compare protocols in lower case.", "Write tcp, udp or sctp in lower case."},
		{"FromAsCasing", nil, "FROM and AS in different case", Warning, "A line in one case is easier to read.", "Write AS in the case of FROM."},
		{"FromPlatformFlagConstDisallowed", []string{"DL3029"}, "a constant platform in FROM", Warning, "The image is for that platform whatever is built for.", "Use $BUILDPLATFORM or $TARGETPLATFORM, or leave --platform out."},
		{"InvalidBaseImagePlatform", nil, "a base image for another platform", Warning, "Its programs run in emulation, or not at all.", "Use a base image for the platform that is built for."},
		{"InvalidDefaultArgInFrom", nil, "a base name that is none without build arguments", Warning, "A build without arguments fails.", "Give the ARG a default."},
		{"InvalidDefinitionDescription", nil, "a comment that does not describe what is below it", Info, "Tools show it as the description of the stage or argument.", "Begin it with the name, or put an empty line between."},
		{"JSONArgsRecommended", []string{"DL3025"}, "a shell in front of the program", Warning, "The shell is process 1 and keeps signals for itself, so stop waits for its timeout.", "Write the command line as a JSON list."},
		{"LegacyKeyValueFormat", nil, "ENV or LABEL without =", Warning, "The old form takes one variable, and its quoting is its own.", "Write NAME=value."},
		{"MaintainerDeprecated", []string{"DL4000"}, "MAINTAINER", Warning, "It is deprecated.", "Use LABEL org.opencontainers.image.authors=…"},
		{"MultipleInstructionsDisallowed", []string{"DL3012", "DL4003", "DL4004"}, "an instruction of which only the last counts", Warning, "All but the last are without effect.", "Keep the last."},
		{"NoEmptyContinuation", nil, "an empty line in a continuation", Warning, "It will be an error, and looks like the end of the instruction.", "Remove the line."},
		{"RedundantTargetPlatform", []string{"DL3065"}, "--platform=$TARGETPLATFORM", Warning, "It is what happens anyway.", "Leave it out."},
		{"ReservedStageName", []string{"DL3063"}, "a stage with a reserved name", Warning, "The name means something else to FROM and --from.", "Give it another name."},
		{"SecretsUsedInArgOrEnv", []string{"DL3064"}, "a secret in ARG or ENV", Warning, "It stands in the image's config and history, for all who can pull it.", "Use RUN --mount=type=secret, or give it when the container is run."},
		{"StageNameCasing", nil, "a stage's name in capitals", Warning, "Names of stages are in lower case.", "Write the name in lower case."},
		{"UndefinedArgInFrom", nil, "an argument in FROM that is not declared", Warning, "It is empty.", "Declare it with ARG before the first FROM."},
		{"UndefinedVar", nil, "a variable that nothing sets", Warning, "It is empty.", "Declare it with ARG or ENV, in an instruction before."},
		{"WorkdirRelativePath", []string{"DL3000"}, "a first WORKDIR that is relative", Warning, "Where it is depends on the base image.", "Write an absolute path."},
	}
}

// ownRules are those that neither of the others has.
func ownRules() []Rule {
	return []Rule{
		{"AddWithoutChecksum", nil, "ADD of a URL without --checksum", Info, "What the URL gives tomorrow may be something else.", "Say --checksum=sha256:…"},
		{"BaseNotPinned", nil, "a base image without a digest", Style, "A tag moves, so the same file builds something else tomorrow.", "Write NAME:TAG@sha256:…"},
		{"PipedDownload", nil, "a download that a shell executes unseen", Info, "A half of it is executed when the connection breaks, and nobody looked at it.", "Download to a file, compare its checksum, execute it."},
		{"UndocumentedPort", nil, "a port without a description", Style, "Who runs the image does not know what it is for.", "Write a comment directly above EXPOSE, or a label camada.doc.port.PORT."},
		{"UndocumentedVolume", nil, "a volume without a description", Style, "Who runs the image does not know what must be kept.", "Write a comment directly above VOLUME, or a label camada.doc.volume.PATH."},
		{"WorldWritable", nil, "files that everyone can write", Warning, "Any process in the container can change them.", "Give them to the user who needs them: chown, or chmod with group rights."},
	}
}

// fileRules are hadolint's about instructions.
func fileRules() []Rule {
	return []Rule{
		{"DL1000", nil, "the file cannot be built", Error, "A build fails here.", "See what the message says."},
		{"DL3001", nil, "a command that makes no sense in a build", Info, "Services, machines and terminals are not there during a build.", "Leave it out."},
		{"DL3002", nil, "the last USER is root", Warning, "What breaks out of the program has all rights in the container.", "End with a USER who is not root."},
		{"DL3003", nil, "cd at the beginning of a RUN", Warning, "The next instruction is where WORKDIR says, not there.", "Use WORKDIR."},
		{"DL3004", nil, "sudo", Error, "A RUN is root already, or cannot become it; sudo handles terminals and signals in its own way.", "Leave it out; use USER to change the user."},
		{"DL3006", nil, "a base image without a tag", Warning, "It means latest, which is something else every time.", "Write NAME:TAG."},
		{"DL3007", nil, "a base image with the tag latest", Warning, "It is something else every time.", "Write the tag of a release."},
		{"DL3010", nil, "an archive that is copied to be unpacked", Info, "The archive stays in its layer.", "Use ADD, which unpacks it."},
		{"DL3020", nil, "ADD of plain files", Error, "ADD unpacks what looks like an archive; COPY does what it says.", "Use COPY."},
		{"DL3022", nil, "COPY --from of what is no stage", Warning, "A name without a tag is taken for an image, latest; probably a stage was meant.", "Name a stage, or an image with its tag."},
		{"DL3026", nil, "a registry that is not trusted", Error, "The configuration lists the registries that images may come from.", "Use one of those."},
		{"DL3044", nil, "a variable that the same ENV sets", Warning, "All values of one ENV are expanded with what was set before it.", "Write two ENV."},
		{"DL3045", nil, "COPY to a relative path without a WORKDIR", Warning, "Where it goes depends on the base image.", "Set WORKDIR, or write an absolute path."},
		{"DL3048", nil, "a label's name that is none", Style, "Names are lower case letters, digits, dots and dashes (Docker, object labels); some are reserved.", "Write it in reverse domain notation: com.example.name."},
		{"DL3049", nil, "a label is missing", Info, "The configuration requires it.", "Add the LABEL."},
		{"DL3050", nil, "a label that is not asked for", Info, "The configuration allows those of its schema alone.", "Remove it, or add it to label-schema."},
		{"DL3051", nil, "an empty label", Warning, "The configuration requires a text.", "Give it a value."},
		{"DL3052", nil, "a label that is no URL", Warning, "The configuration requires one.", "Write an absolute URL."},
		{"DL3053", nil, "a label that is no time", Warning, "The configuration requires one of RFC 3339.", "Write it as 2006-01-02T15:04:05Z."},
		{"DL3054", nil, "a label that is no SPDX licence", Warning, "The configuration requires an SPDX licence expression.", "See https://spdx.org/licenses."},
		{"DL3055", nil, "a label that is no commit", Warning, "The configuration requires a git hash.", "Write 7 to 64 hexadecimal digits."},
		{"DL3056", nil, "a label that is no semantic version", Warning, "The configuration requires one.", "Write MAJOR.MINOR.PATCH."},
		{"DL3057", nil, "no HEALTHCHECK", Ignore, "Whether the program works is not known outside.", "Add a HEALTHCHECK."},
		{"DL3058", nil, "a label that is no e-mail address", Warning, "The configuration requires one.", "Write name@domain."},
		{"DL3059", nil, "several RUN one after the other", Info, "Each makes a layer; what one writes and the next deletes stays in the image.", "Join them with &&, or in a heredoc."},
		{"DL3066", nil, "a user by name", Info, "Kubernetes cannot tell whether a name is root (runAsNonRoot).", "Write the number of the user."},
		{"DL3067", nil, "COPY of the whole file system of a stage", Warning, "It brings all that the stage was built with, over what is there.", "Copy the files that are needed, or start from the stage."},
		{"DL4001", nil, "both wget and curl", Warning, "One of the two is enough.", "Use one."},
		{"DL4005", nil, "/bin/sh is replaced", Warning, "Scripts of packages expect the shell that the distribution has.", "Use SHELL."},
		{"DL4006", nil, "a pipe without pipefail", Warning, "Only the last command's failure fails the build.", `Write SHELL ["/bin/bash", "-o", "pipefail", "-c"] before it, or set -o pipefail in it.`},
	}
}
