package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// report prints the table, and writes it and the samples to the files that were asked for.
func report(results []result, absent map[string]string, machine string, o options) error {
	var b strings.Builder
	table(&b, results, absent, machine)
	fmt.Print(b.String())
	if o.markdown != "" {
		if err := os.WriteFile(o.markdown, []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	if o.json == "" {
		return nil
	}
	out, err := json.MarshalIndent(struct {
		Machine string            `json:"machine"`
		Results []result          `json:"results"`
		Absent  map[string]string `json:"absent,omitempty"`
	}{machine, results, absent}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(out, '\n'), 0o644)
}

func table(w io.Writer, results []result, absent map[string]string, machine string) {
	fmt.Fprintf(w, "%s\n", machine)
	for _, r := range results {
		fmt.Fprintf(w, "\n### %s: %s\n\n", r.Scene, r.Title)
		ours := r.Rows[0]
		if ours.Bytes > 0 {
			fmt.Fprint(w, "| | size | of ours |\n|---|---:|---:|\n")
		} else {
			fmt.Fprint(w, "| | min | median | CPU | peak memory | median, of ours |\n|---|---:|---:|---:|---:|---:|\n")
		}
		for _, row := range r.Rows {
			switch {
			case row.Failed != "":
				text := []rune(strings.Join(strings.Fields(row.Failed), " "))
				fmt.Fprintf(w, "| %s | failed: %s |\n", row.Contender, string(text[:min(len(text), 120)]))
			case row.Bytes > 0:
				fmt.Fprintf(w, "| %s | %.1f MB | %.1f× |\n", row.Contender, float64(row.Bytes)/1e6, float64(row.Bytes)/float64(ours.Bytes))
			default:
				fmt.Fprintf(w, "| %s | %s | %s | %s | %.0f MB | %.1f× |\n", row.Contender, ms(row.Min), ms(row.Median), ms(row.CPU), float64(row.Memory)/1e6, row.Median/ours.Median)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(absent)) {
		fmt.Fprintf(w, "\n%s is absent: %s", name, absent[name])
	}
	fmt.Fprintln(w)
}

func ms(s float64) string {
	if s >= 10 {
		return fmt.Sprintf("%.1f s", s)
	}
	if s >= 1 {
		return fmt.Sprintf("%.2f s", s)
	}
	return fmt.Sprintf("%.1f ms", s*1e3)
}

func machine() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return fmt.Sprintf("Measured on %d cores, Linux %s, %s, %s.", runtime.NumCPU(), unix.ByteSliceToString(u.Release[:]), runtime.GOARCH, runtime.Version())
}
