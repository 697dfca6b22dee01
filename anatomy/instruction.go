package anatomy

import "strings"

// Instruction is what a history entry's created_by says, as it stood in the Dockerfile: without the shell and the marks that docker,
// BuildKit and others put around it. What it does not know stays.
func Instruction(createdBy string) string {
	s := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(createdBy), "# buildkit"))
	if rest, ok := strings.CutPrefix(s, "/bin/sh -c #(nop)"); ok {
		return strings.TrimSpace(rest)
	}
	rest := strings.TrimPrefix(s, "RUN ")
	if after, ok := strings.CutPrefix(rest, "|"); ok { // "|2 a=1 b=2 /bin/sh -c make": the build arguments
		if _, command, found := strings.Cut(after, "/bin/sh -c "); found {
			return "RUN " + strings.TrimSpace(command)
		}
	}
	if command, ok := strings.CutPrefix(rest, "/bin/sh -c "); ok {
		return "RUN " + strings.TrimSpace(command)
	}
	return s
}
