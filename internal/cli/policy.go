package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/policy"
	"github.com/spf13/cobra"
)

func (a *app) policyGroup() *cobra.Command {
	cmd := a.group("policy", "Say which images may be pulled, run, pushed, built and deployed",
		a.policyCheckCommand(), a.policyExplainCommand(), a.policyLintCommand(), a.policyTestCommand(), a.policyServeCommand())
	cmd.Long = `A policy is a file with rules for images: from where, signed by whom, without known vulnerabilities or secrets, how big.

The machine's is /etc/camada/policy.yaml. Beside it counts the one of --policy or CAMADA_POLICY, or else ~/.config/camada/policy.yaml. build, run, create, pull, push and copy
ask all of them; a registry ("camada serve") and a Kubernetes ("camada policy serve") are given one.`
	return cmd
}

// policyOptions are the flags of check and explain.
type policyOptions struct {
	how, action, platform, namespace, user string
	noTrunc                                bool
}

func (o *policyOptions) flags(cmd *cobra.Command) {
	var actions []string
	for _, x := range policy.Actions() {
		actions = append(actions, string(x))
	}
	f := cmd.Flags()
	f.StringVar(&o.how, "format", "", "table, json or a Go `template`")
	f.StringVar(&o.action, "action", "run", "what is to be done: "+strings.Join(actions, ", "))
	f.StringVar(&o.platform, "platform", "", "os/arch[/variant] of an image for several")
	f.StringVar(&o.namespace, "namespace", "", "`namespace` of a Kubernetes, for deploy")
	f.StringVar(&o.user, "user", "", "`user` who asks, as expressions see him")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "do not shorten")
}

func (o *policyOptions) engine(cmd *cobra.Command) (engine.PolicyOptions, error) {
	if !slices.Contains(policy.Actions(), policy.Action(o.action)) {
		return engine.PolicyOptions{}, usage(cmd, "--action %q is none of those that --help names", o.action)
	}
	return engine.PolicyOptions{Action: policy.Action(o.action), Platform: o.platform, Namespace: o.namespace, User: o.user}, nil
}

func (a *app) policyCheckCommand() *cobra.Command {
	var o policyOptions
	cmd := &cobra.Command{
		Use: "check [OPTIONS] IMAGE...", Short: "Ask the policies whether something may be done with images",
		Long: `Ask all policies that count whether something may be done with images, which are as for "camada layers".

The exit code is 0 when all are allowed, 5 when one is refused, and 1 when that could not be found out.`,
		Example: `  camada policy check app
  camada policy check --policy policy.yaml --action push registry.example.com/team/app:1.2
  camada policy check --format json app | jq '.[].Results[] | select(.Verdict == "fail")'`,
		Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.policyCheck(cmd, args, o) },
	}
	o.flags(cmd)
	return cmd
}

// decisions asks the policies about images.
func (a *app) decisions(cmd *cobra.Command, names []string, o *policyOptions) ([]*policy.Decision, error) {
	opts, err := o.engine(cmd)
	if err != nil {
		return nil, err
	}
	var out []*policy.Decision
	err = a.with(cmd.Context(), func(e *engine.Engine) error {
		show, err := a.display("auto")
		if err != nil {
			return err
		}
		for _, name := range names {
			var d *policy.Decision
			if d, err = e.CheckPolicy(cmd.Context(), name, opts, show); err != nil {
				err = fmt.Errorf("%s: %w", name, err)
				break
			}
			out = append(out, d)
		}
		return errors.Join(err, show.Close())
	})
	return out, err
}

// policyRow is a rule in a table.
type policyRow struct {
	Image, Action string
	policy.Result
}

// verdict is what comes of a result, in a word.
func (r *policyRow) verdict() string {
	if r.Warn && (r.Verdict == policy.Fail || r.Verdict == policy.Unknown) {
		return r.Verdict + " (warn)"
	}
	return r.Verdict
}

func (a *app) policyCheck(cmd *cobra.Command, names []string, o policyOptions) error {
	list, err := a.decisions(cmd, names, &o)
	if err != nil {
		return err
	}
	if o.how != "" && o.how != "table" {
		err = format.Show(a.stdout, o.how, list)
	} else {
		err = a.showDecisions(list, o)
	}
	return errors.Join(err, refused(list))
}

// refused chooses the exit code.
func refused(list []*policy.Decision) error {
	var names []string
	for _, d := range list {
		if !d.Allowed {
			names = append(names, safe(d.Image))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &exitError{code: codeRefused, err: fmt.Errorf("refused by policy: %s", strings.Join(names, ", "))}
}

func (a *app) showDecisions(list []*policy.Decision, o policyOptions) error {
	var rows []*policyRow
	for _, d := range list {
		for _, r := range d.Results {
			rows = append(rows, &policyRow{Image: d.Image, Action: string(d.Action), Result: r})
		}
	}
	if len(rows) == 0 {
		fmt.Fprintln(a.stderr, "camada: warning: no rule is about this, so it is allowed")
		return nil
	}
	return policyTable(o.noTrunc).Write(a.stdout, "", rows)
}

func policyTable(noTrunc bool) format.Table[*policyRow] {
	return format.Table[*policyRow]{Columns: []format.Column[*policyRow]{
		{Header: "IMAGE", Value: func(r *policyRow) string { return r.Image }},
		{Header: "RULE", Value: func(r *policyRow) string { return r.Rule }},
		{Header: "VERDICT", Value: func(r *policyRow) string { return r.verdict() }},
		{Header: "WHY", Value: func(r *policyRow) string { return shorten(joined(r.Message), 90, noTrunc) }},
		{Header: "TO DO", Value: func(r *policyRow) string { return shorten(joined(r.Fix), 70, noTrunc) }},
	}}
}

func (a *app) policyExplainCommand() *cobra.Command {
	var o policyOptions
	cmd := &cobra.Command{
		Use: "explain [OPTIONS] IMAGE", Short: "Show what each rule of the policies looked at, and found",
		Long: `Show each rule that is about an image and an action, what it looked at, and what it found. Nothing is left out after the first condition that does not hold.

The exit code is that of "camada policy check".`,
		Example: `  camada policy explain app
  camada policy explain --action deploy --namespace prod registry.example.com/team/app@sha256:…`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := a.decisions(cmd, args, &o)
			if err != nil {
				return err
			}
			if o.how != "" && o.how != "table" {
				err = format.Show(a.stdout, o.how, list[0])
			} else {
				a.explainPolicy(list[0])
			}
			return errors.Join(err, refused(list))
		},
	}
	o.flags(cmd)
	return cmd
}

func (a *app) explainPolicy(d *policy.Decision) {
	w := &lines{a.stdout}
	word := "allowed"
	if !d.Allowed {
		word = "refused"
	}
	w.printf("%s of %s (%s): %s\n", d.Action, safe(d.Image), d.Digest, word)
	for i := range d.Results {
		row := policyRow{Result: d.Results[i]}
		w.printf("\n%s  %s:%d  %s\n", row.Rule, row.File, row.Line, row.verdict())
		if row.Description != "" {
			w.printf("  %s\n", safe(row.Description))
		}
		if row.Verdict == policy.Excepted {
			w.printf("  does not count: %s\n", safe(row.Message))
		}
		for _, c := range row.Checks {
			w.printf("  %-7s %s: %s\n", c.Verdict, c.Condition, safe(orElse(c.Reason, c.Fact)))
		}
		if row.Fix != "" {
			w.printf("  to do:  %s\n", safe(row.Fix))
		}
	}
	if len(d.Results) == 0 {
		w.printf("no rule is about this\n")
	}
}

func (a *app) policyLintCommand() *cobra.Command {
	return &cobra.Command{
		Use: "lint FILE...", Aliases: []string{"validate"}, Short: "Say what is wrong with files of policies",
		Long:    "Read files of policies, and say everything that is wrong with them, with its line. Expressions are checked against the variables that there are. That a signer cannot be believed is a warning: a file is missing, or a trusted root comes without an issuer.",
		Example: "  camada policy lint policy.yaml",
		Args:    args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(args, func(name string) error {
				p, err := engine.ReadPolicy(name)
				if err != nil {
					return err
				}
				for _, w := range engine.PolicyWarnings(cmd.Context(), p) {
					fmt.Fprintf(a.stderr, "warning: %s: %s\n", name, safe(w.Error()))
				}
				fmt.Fprintf(a.stdout, "%s: %s, %s\n", name, plural(len(p.Rules), "rule"), plural(len(p.Cases), "test"))
				return nil
			})
		},
	}
}

func (a *app) policyTestCommand() *cobra.Command {
	return &cobra.Command{
		Use: "test FILE...", Short: "Try the cases that files of policies describe",
		Long: `Judge the images that the files describe below "tests", and compare what the rules say with what they should. No image is opened.

The exit code is 1 when a case is judged otherwise, or when there is none.`,
		Example: "  camada policy test policy.yaml",
		Args:    args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(args, func(name string) error {
				p, err := engine.ReadPolicy(name)
				if err != nil {
					return err
				}
				if len(p.Cases) == 0 {
					return errdefs.NotFound("%s has no tests", name)
				}
				var errs []error
				for i := range p.Cases {
					errs = append(errs, p.Cases[i].Check(cmd.Context(), p))
				}
				if err := errors.Join(errs...); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s: %s passed\n", name, plural(len(p.Cases), "test"))
				return nil
			})
		},
	}
}
