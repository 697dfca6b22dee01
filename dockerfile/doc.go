// Package dockerfile reads Dockerfiles.
//
//	f, err := dockerfile.Parse("Dockerfile", src)
//	for _, s := range f.Stages {
//		for _, c := range s.Commands { ... }
//	}
//
// The language is BuildKit's: its parser, instruction and shell packages do
// the reading, so what a command means is exact. This package adds what a
// builder needs around them: which stage a name means, the scopes of ARG and
// ENV, and errors that show the line and say what was meant.
//
// What the builder cannot do yet is refused by name here, so that no part of a
// Dockerfile is ever ignored.
//
// # Scopes
//
// An ARG before the first FROM is global: FROM lines see it, a stage sees it only
// after an ARG of the same name without a value. ARG and ENV of a stage share
// one Scope; what comes later wins, and ENV lines of the base image come first.
// Values are expanded where they stand, with the scope as it is before the
// instruction. The platform arguments (TARGETPLATFORM, BUILDARCH ...) are global
// and always there; the proxy arguments (HTTP_PROXY ...) reach RUN without being declared.
package dockerfile
