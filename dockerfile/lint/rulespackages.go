package lint

// packageRules are hadolint's about package managers and other programs. To pin the versions of a distribution's packages is Info here: archives
// keep the latest alone, so a build with pins breaks at the next security update.
func packageRules() []Rule {
	return []Rule{
		{"DL3008", nil, "apt-get install without versions", Info, "Another day another version.", "Write PACKAGE=VERSION, or use a base and an archive of a fixed state."},
		{"DL3009", nil, "lists of apt left behind", Info, "They are tens of megabytes and useless in the image.", "End the RUN with rm -rf /var/lib/apt/lists/*, or mount a cache there."},
		{"DL3013", nil, "pip install without versions", Warning, "Another day another version.", "Write PACKAGE==VERSION, or use a requirements file."},
		{"DL3014", nil, "apt-get install without -y", Warning, "It asks, and nobody answers.", "Add -y."},
		{"DL3015", nil, "apt-get install with recommended packages", Info, "They are installed without need.", "Add --no-install-recommends."},
		{"DL3016", nil, "npm install without versions", Warning, "Another day another version.", "Write PACKAGE@VERSION, or use npm ci."},
		{"DL3018", nil, "apk add without versions", Info, "Another day another version.", "Write PACKAGE=VERSION."},
		{"DL3019", nil, "apk add with an index left behind", Info, "The index stays in the layer.", "Add --no-cache, or mount a cache at /var/cache/apk."},
		{"DL3027", nil, "apt in a script", Warning, "Its output and options are for people and change.", "Use apt-get or apt-cache."},
		{"DL3028", nil, "gem install without versions", Warning, "Another day another version.", "Write GEM:VERSION."},
		{"DL3030", nil, "yum install without -y", Warning, "It asks, and nobody answers.", "Add -y."},
		{"DL3032", nil, "the cache of yum left behind", Warning, "It is useless in the image.", "End the RUN with yum clean all, or mount a cache at /var/cache/yum."},
		{"DL3033", nil, "yum install without versions", Info, "Another day another version.", "Write PACKAGE-VERSION."},
		{"DL3034", nil, "zypper without -n or -y", Warning, "It asks, and nobody answers.", "Add --non-interactive, or -y."},
		{"DL3035", nil, "zypper dist-upgrade", Warning, "It makes another release of the base image.", "Use a newer base image."},
		{"DL3036", nil, "the cache of zypper left behind", Warning, "It is useless in the image.", "End the RUN with zypper clean, or mount a cache at /var/cache/zypp."},
		{"DL3037", nil, "zypper install without versions", Info, "Another day another version.", "Write PACKAGE=VERSION."},
		{"DL3038", nil, "dnf install without -y", Warning, "It asks, and nobody answers.", "Add -y."},
		{"DL3040", nil, "the cache of dnf left behind", Warning, "It is useless in the image.", "End the RUN with dnf clean all, or mount a cache at /var/cache/libdnf5 or /var/cache/dnf."},
		{"DL3041", nil, "dnf install without versions", Info, "Another day another version.", "Write PACKAGE-VERSION."},
		{"DL3042", nil, "the cache of pip left behind", Warning, "It is useless in the image.", "Add --no-cache-dir, set PIP_NO_CACHE_DIR=1, or mount a cache at /root/.cache/pip."},
		{"DL3046", nil, "useradd with a high number and without -l", Warning, "It writes /var/log/lastlog with a hole up to that number, which becomes gigabytes in some layers.", "Add -l."},
		{"DL3047", nil, "wget with a bar of progress", Info, "It fills the log.", "Add --progress=dot:giga or -q."},
		{"DL3060", nil, "the cache of yarn left behind", Info, "It is useless in the image.", "End the RUN with yarn cache clean, or mount a cache."},
		{"DL3062", nil, "go install without a version", Warning, "Another day another version.", "Write PACKAGE@VERSION."},
	}
}

// shellRules are ShellCheck's that the syntax tree shows.
func shellRules() []Rule {
	return []Rule{
		{"SC1018", nil, "a non-breaking space", Warning, "The shell takes it for a part of a word.", "Write an ordinary space."},
		{"SC1072", []string{"SC1073"}, "the shell cannot read this", Error, "The step fails.", "See what the message says."},
		{"SC1081", nil, "a keyword in capitals", Warning, "It is run as a command.", "Write it in lower case."},
		{"SC1087", nil, "an array element without braces", Warning, "It is the variable, followed by a bracket.", "Write ${name[index]}."},
		{"SC2002", nil, "cat of one file into a pipe", Style, "The program can read the file itself.", "Write program < file."},
		{"SC2005", nil, "echo of what a command prints", Style, "The command prints it itself.", "Run the command alone."},
		{"SC2006", nil, "backticks", Style, "They nest badly and quote in their own way.", "Write $(command)."},
		{"SC2015", nil, "a && b || c", Info, "It is no if: c is executed when b fails, too.", "Use if."},
		{"SC2028", nil, "echo of escape sequences", Info, "echo of bash prints them as they are.", "Use printf."},
		{"SC2035", nil, "a pattern that may begin with a dash", Info, "A file called -rf is taken for an option.", "Write ./* or -- *."},
		{"SC2045", nil, "a loop over ls", Warning, "Names with spaces become several.", "Loop over a pattern: for f in dir/*."},
		{"SC2046", nil, "what a command prints, without quotes", Info, "It is split at spaces, and patterns in it are expanded.", "Put it into double quotes."},
		{"SC2048", []string{"SC2068"}, "$* or $@ without quotes", Warning, "Arguments with spaces become several.", `Write "$@".`},
		{"SC2059", nil, "a variable in the format of printf", Info, "A % in it is obeyed.", `Write printf '%s' "$value".`},
		{"SC2061", []string{"SC2062"}, "a pattern that the shell may expand", Warning, "The shell expands it when a file matches; then the program does not see it.", "Put it into quotes."},
		{"SC2069", nil, "2>&1 before a redirection", Warning, "Errors go where the output went before.", "Write it behind: >file 2>&1."},
		{"SC2070", nil, "[ -n $x ] without quotes", Warning, "It is true when x is empty.", "Put the variable into double quotes."},
		{"SC2086", nil, "a variable without quotes", Info, "It is split at spaces, and patterns in it are expanded.", "Put it into double quotes."},
		{"SC2094", nil, "a file that is read and written at once", Warning, "It is emptied before it is read.", "Write to another file, and rename it."},
		{"SC2115", nil, "rm -r of a variable and /", Warning, "When it is empty, all is removed.", `Write "${name:?}/".`},
		{"SC2116", nil, "$(echo …)", Style, "It is the text itself.", "Write the text."},
		{"SC2154", nil, "a variable that nothing sets", Warning, "It is empty.", "Set it, or declare it with ARG or ENV."},
		{"SC2155", nil, "export with the output of a command", Warning, "The command's failure is lost.", "Assign first, export then."},
		{"SC2162", nil, "read without -r", Info, "It takes backslashes away.", "Add -r."},
		{"SC2164", nil, "a cd whose failure is not seen", Warning, "What follows is done in another directory.", "Write cd dir || exit, or && between."},
		{"SC2166", nil, "-a or -o in a test", Warning, "It means different things to different shells.", "Write [ a ] && [ b ]."},
		{"SC2196", []string{"SC2197"}, "egrep or fgrep", Style, "They are deprecated.", "Write grep -E or grep -F."},
		{"SC2281", []string{"SC1066"}, "$ on the left side of an assignment", Warning, "The value is assigned to, not the variable: it is run as a command.", "Leave the $ out."},
		{"SC2283", []string{"SC1068"}, "spaces around the = of an assignment", Warning, "The name is run as a command.", "Leave the spaces out."},
	}
}

// portableRules are ShellCheck's about what sh has not. They find nothing where the base image's sh is known to have it.
func portableRules() []Rule {
	const fix = `Write it as POSIX has it, or choose the shell: SHELL ["/bin/bash", "-c"].`
	const reason = "The shell is /bin/sh, which on Debian, Ubuntu and Alpine is not bash."
	return []Rule{
		{"SC3001", nil, "process substitution in sh", Warning, reason, fix},
		{"SC3010", nil, "[[ ]] in sh", Warning, reason, fix},
		{"SC3011", nil, "a here-string in sh", Warning, reason, fix},
		{"SC3014", nil, "== in a test of sh", Warning, reason, "Write =."},
		{"SC3020", nil, "&> in sh", Warning, "It starts the command in the background, and empties the file.", "Write >file 2>&1."},
		{"SC3024", nil, "+= in sh", Warning, reason, fix},
		{"SC3030", nil, "an array in sh", Warning, reason, fix},
		{"SC3037", nil, "a flag of echo in sh", Warning, "echo of dash knows no -e and prints it.", "Use printf."},
		{"SC3040", nil, "set -o pipefail in sh", Warning, "dash of Debian 12 and before does not know it and ends.", `Choose the shell: SHELL ["/bin/bash", "-o", "pipefail", "-c"].`},
		{"SC3044", nil, "declare or a like in sh", Warning, reason, fix},
		{"SC3046", nil, "source in sh", Warning, reason, "Write a dot: . file."},
		{"SC3054", nil, "an array element in sh", Warning, reason, fix},
		{"SC3057", nil, "${x:1} in sh", Warning, reason, fix},
		{"SC3060", nil, "${x/a/b} in sh", Warning, reason, fix},
	}
}
