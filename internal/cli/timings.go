package cli

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
)

// The forms of --timings.
const (
	timingsTable = "table"
	timingsJSON  = "json"
)

func (o *runOptions) completeTimings() error {
	switch o.timings {
	case "":
		return nil
	case timingsTable, timingsJSON:
		o.Timings = engine.NewTimings()
		return nil
	}
	return errdefs.Invalid("--timings %s: want table or json", o.timings)
}

// showTimings tells where the time of a start went. What the program itself took is told of, and not counted.
func (a *app) showTimings(o runOptions) {
	stages := o.Timings.Stages()
	if len(stages) == 0 {
		return
	}
	var total time.Duration
	for _, s := range stages {
		if s.Stage != engine.StageProgram {
			total += s.Took
		}
	}
	if o.timings == timingsJSON {
		type stage struct {
			Stage        string  `json:"stage"`
			Milliseconds float64 `json:"ms"`
		}
		out := struct {
			Stages []stage `json:"stages"`
			Total  float64 `json:"total_ms"`
		}{Total: milliseconds(total)}
		for _, s := range stages {
			out.Stages = append(out.Stages, stage{s.Stage, milliseconds(s.Took)})
		}
		b, _ := json.Marshal(out) // numbers and names
		fmt.Fprintln(a.stderr, string(b))
		return
	}
	w := tabwriter.NewWriter(a.stderr, 0, 4, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "MS\t  STAGE")
	for _, s := range stages {
		note := ""
		if s.Stage == engine.StageProgram {
			note = " (not counted)"
		}
		fmt.Fprintf(w, "%s\t  %s%s\n", number(s.Took), s.Stage, note)
	}
	fmt.Fprintf(w, "%s\t  %s\n", number(total), "all")
	w.Flush()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// number is a time in milliseconds.
func number(d time.Duration) string {
	return fmt.Sprintf("%.2f", milliseconds(d))
}
