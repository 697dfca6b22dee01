package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// maxPassword bounds what is read of a password, in bytes: some are tokens with keys in them.
const maxPassword = 64 << 10

func (a *app) loginCommand() *cobra.Command {
	var o engine.LoginOptions
	var fromStdin bool
	cmd := &cobra.Command{
		Use: "login [OPTIONS] [SERVER]", Short: "Log in to a registry",
		Long: `Show a registry who asks, and keep the credentials when it accepts them. SERVER is docker.io when it is not given.

They are kept where docker keeps them: in ~/.docker/config.json (DOCKER_CONFIG), or with the credential helper that it names;
with REGISTRY_AUTH_FILE in that file, as podman has it. Of a registry that gives out identity tokens, such a token is kept in place of
the password.`,
		Example: `  camada login -u me registry.example.com
  pass show registry | camada login -u me --password-stdin registry.example.com
  camada login localhost:5000`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.Server = args[0]
			}
			if err := a.passwordOf(cmd, &o, fromStdin); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error { return a.login(cmd.Context(), e, o) })
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Username, "username", "u", "", "user `name`")
	f.StringVarP(&o.Password, "password", "p", "", "`password` or access token; other users of this machine see it, so better --password-stdin")
	f.BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

// passwordOf looks at the flags, and reads standard input when they say so.
func (a *app) passwordOf(cmd *cobra.Command, o *engine.LoginOptions, fromStdin bool) error {
	if !fromStdin {
		if o.Password != "" {
			fmt.Fprintln(a.stderr, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
		}
		return nil
	}
	if cmd.Flags().Changed("password") {
		return errdefs.Invalid("conflicting options: cannot specify both --password and --password-stdin")
	}
	if o.Username == "" {
		return errdefs.Invalid("the --password-stdin option requires --username to be set")
	}
	data, err := io.ReadAll(io.LimitReader(a.stdin, maxPassword+1))
	if err != nil {
		return fmt.Errorf("read the password: %w", err)
	}
	if len(data) > maxPassword {
		return errdefs.Limit("the password is longer than %d bytes", maxPassword)
	}
	o.Password = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if o.Password == "" {
		return errdefs.Invalid("standard input has no password")
	}
	return nil
}

// login tries what is kept when nothing is given, and asks at the terminal for what is missing.
func (a *app) login(ctx context.Context, e *engine.Engine, o engine.LoginOptions) error {
	known, there, err := e.KnownUser(ctx, o.Server)
	if err != nil && o.Password == "" {
		return err
	}
	if o.Password == "" && there && (o.Username == "" || o.Username == known) {
		fmt.Fprintf(a.stderr, "Authenticating with existing credentials... [Username: %s]\n", known)
		res, err := e.Login(ctx, engine.LoginOptions{Server: o.Server})
		if err == nil {
			a.loggedIn(res)
			return nil
		}
		if !errdefs.IsPermission(err) || !isTerminal(a.stdin) {
			return err
		}
		fmt.Fprintf(a.stderr, "Login did not succeed, error: %v\n", err)
	}
	if err := a.askLogin(ctx, &o, known); err != nil {
		return err
	}
	res, err := e.Login(ctx, o)
	if err != nil {
		return err
	}
	a.loggedIn(res)
	return nil
}

// askLogin asks for the name and the password that are missing.
func (a *app) askLogin(ctx context.Context, o *engine.LoginOptions, known string) error {
	if o.Username != "" && o.Password != "" {
		return nil
	}
	if !isTerminal(a.stdin) {
		return errdefs.Invalid("cannot perform an interactive login from a non TTY device; use --username and --password-stdin")
	}
	if o.Username == "" {
		if known != "" {
			fmt.Fprintf(a.stderr, "Username (%s): ", known)
		} else {
			fmt.Fprint(a.stderr, "Username: ")
		}
		line, err := a.ask(ctx, func() (string, error) { return bufio.NewReader(a.stdin).ReadString('\n') })
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the user name: %w", err)
		}
		if o.Username = strings.TrimSpace(line); o.Username == "" {
			o.Username = known
		}
		if o.Username == "" {
			return errdefs.Invalid("username is required")
		}
	}
	if o.Password == "" {
		fmt.Fprint(a.stderr, "Password: ")
		var err error
		o.Password, err = a.ask(ctx, func() (string, error) {
			data, err := term.ReadPassword(int(a.stdin.Fd()))
			return string(data), err
		})
		fmt.Fprintln(a.stderr)
		if err != nil {
			return fmt.Errorf("read the password: %w", err)
		}
		if o.Password == "" {
			return errdefs.Invalid("password is required")
		}
	}
	return nil
}

// ask waits for what the user types until ctx ends, and leaves the terminal as it was.
func (a *app) ask(ctx context.Context, read func() (string, error)) (string, error) {
	fd := int(a.stdin.Fd())
	was, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := read()
		got <- answer{text, err}
	}()
	select {
	case r := <-got:
		return r.text, r.err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(fd, was))
	}
}

func (a *app) loggedIn(res engine.LoginResult) {
	if res.File != "" && res.Helper == "" {
		fmt.Fprintf(a.stderr, "\nWARNING! Your credentials are stored unencrypted in '%s'.\nConfigure a credential helper (credsStore) to remove this warning.\n\n", res.File)
	}
	fmt.Fprintln(a.stdout, "Login Succeeded")
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout [SERVER]", Short: "Log out from a registry",
		Long: `Forget the credentials for a registry, docker.io when SERVER is not given: in all files and helpers in which camada would find them, those
of podman too.`,
		Example: "  camada logout registry.example.com", Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			server := ""
			if len(args) == 1 {
				server = args[0]
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				host, _, err := e.Logout(cmd.Context(), server)
				if err == nil {
					fmt.Fprintf(a.stdout, "Removing login credentials for %s\n", host)
				}
				return err
			})
		},
	}
}
