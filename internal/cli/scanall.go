package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

// scanAll scans all images of the store. It fails as the worst of them does.
func (a *app) scanAll(cmd *cobra.Command, o scanOptions) error {
	maxAge, err := parseAge(o.maxAge)
	if err != nil {
		return usage(cmd, "--max-age %q: %v", o.maxAge, err)
	}
	gate, err := o.gate(cmd)
	if err != nil {
		return err
	}
	return a.with(cmd.Context(), func(e *engine.Engine) error {
		d, err := a.display("auto")
		if err != nil {
			return err
		}
		list, err := e.ScanAll(cmd.Context(), o.engineOptions(cmd, maxAge), d)
		if err := errors.Join(err, d.Close()); err != nil {
			if errors.Is(err, engine.ErrNoAdvisories) {
				return &exitError{code: codeUnknown, err: err}
			}
			return err
		}
		for _, s := range list {
			o.filter(s.ScanReport)
		}
		if err := scanAllTable().Write(a.stdout, o.how, list); err != nil {
			return err
		}
		if o.how == "" || o.how == "table" {
			a.summarizeAll(list)
		}
		return worstOf(list, gate)
	})
}

// worstOf joins what makes images fail. Findings come before what could not be looked at.
func worstOf(list []*engine.ScannedImage, gate func(*engine.ScanReport) error) error {
	var all []error
	code := 0
	for _, s := range list {
		var exit *exitError
		switch err := gate(s.ScanReport); {
		case s.Failed() != nil:
			all = append(all, s.Failed())
			if code == 0 {
				code = codeUnknown
			}
		case errors.As(err, &exit):
			all = append(all, exit.err)
			if code == 0 || code == codeUnknown {
				code = exit.code
			}
		case err != nil:
			return err
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &exitError{code: code, err: errors.Join(all...)}
}

func (a *app) summarizeAll(list []*engine.ScannedImage) {
	affected := 0
	for _, s := range list {
		if len(s.Findings) > 0 {
			affected++
		}
	}
	w := &lines{a.stdout}
	if len(list) > 0 {
		w.printf("\n")
	}
	w.printf("%d of %s affected", affected, plural(len(list), "image"))
	for _, s := range list {
		if s.Failed() == nil {
			w.printf("; advisories of %s", s.Database.Created.Format(time.DateOnly))
			if s.NewSince != "" {
				w.printf(", new since %s", s.NewSince)
			}
			break
		}
	}
	w.printf("\n")
}

func scanAllTable() format.Table[*engine.ScannedImage] {
	return format.Table[*engine.ScannedImage]{Columns: []format.Column[*engine.ScannedImage]{
		{Header: "IMAGE", Value: func(s *engine.ScannedImage) string {
			if n := len(s.Names); n > 1 {
				return fmt.Sprintf("%s (and %d more)", s.Names[0], n-1)
			}
			return s.Names[0]
		}},
		{Header: "FINDINGS", Value: func(s *engine.ScannedImage) string {
			if s.Failed() != nil {
				return "unknown"
			}
			text := strings.TrimSpace(fmt.Sprintf("%d %s", total(s.Counts), parenthesised(severityCounts(s.Counts))))
			if s.Complete() != nil {
				text += ", not looked at as a whole"
			}
			return text
		}},
		{Header: "FIXABLE", Value: func(s *engine.ScannedImage) string {
			base, own, _ := s.Repairs()
			return fmt.Sprint(base + own)
		}},
		{Header: "PACKAGES", Value: func(s *engine.ScannedImage) string { return fmt.Sprint(s.Packages) }},
		{Header: "SYSTEM", Value: func(s *engine.ScannedImage) string {
			return orElse(s.Distribution.PrettyName, s.Distribution.ID)
		}},
	}}
}

func parenthesised(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}
