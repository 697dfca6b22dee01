// Package spec makes the OCI runtime-spec of a container from what a user asks for, with Docker's defaults.
//
//	s, err := spec.New(spec.Options{Args: []string{"sh"}, Env: env, Cwd: "/", ReadOnly: true})
//	user, err := spec.ResolveUser(files, "app:staff")
//
// It knows no images and starts nothing: container.Start does.
package spec
