package anatomy

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/camada/camada/image"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// FieldChange is a difference of one field of the configs: Old or New is "" when the field is not there.
type FieldChange struct {
	// Kind is A, D or C.
	Kind string
	// Field is Env, Labels, ExposedPorts, Cmd ..., Key what of it: the name of a variable or label.
	Field string
	Key   string `json:",omitempty"`
	Old   string `json:",omitempty"`
	New   string `json:",omitempty"`
}

// CompareConfigs lists what two configs differ in, field by field. History and layers are not in it.
func CompareConfigs(a, b *image.Config) []FieldChange {
	c := configs{}
	c.field("Platform", "", platformOf(a), platformOf(b))
	c.field("Author", "", a.Author, b.Author)
	if x, y := text(a.Created), text(b.Created); a.Created == nil || b.Created == nil || !a.Created.Equal(*b.Created) {
		c.field("Created", "", x, y)
	}
	x, y := &a.Config, &b.Config
	c.field("User", "", x.User, y.User)
	c.field("WorkingDir", "", x.WorkingDir, y.WorkingDir)
	c.field("Entrypoint", "", list(x.Entrypoint), list(y.Entrypoint))
	c.field("Cmd", "", list(x.Cmd), list(y.Cmd))
	c.keyed("Env", environ(x.Env), environ(y.Env))
	c.keyed("Labels", x.Labels, y.Labels)
	c.keyed("ExposedPorts", set(x.ExposedPorts), set(y.ExposedPorts))
	c.keyed("Volumes", set(x.Volumes), set(y.Volumes))
	c.field("StopSignal", "", x.StopSignal, y.StopSignal)
	c.field("StopTimeout", "", text(x.StopTimeout), text(y.StopTimeout))
	c.field("Healthcheck", "", text(x.Healthcheck), text(y.Healthcheck))
	c.field("Shell", "", list(x.Shell), list(y.Shell))
	c.field("OnBuild", "", list(x.OnBuild), list(y.OnBuild))
	return c.out
}

type configs struct{ out []FieldChange }

func (c *configs) field(name, key, old, now string) {
	if old == now {
		return
	}
	f := FieldChange{Kind: "C", Field: name, Key: key, Old: old, New: now}
	switch {
	case old == "":
		f.Kind = "A"
	case now == "":
		f.Kind = "D"
	}
	c.out = append(c.out, f)
}

// keyed compares maps key by key. A key with an empty value is there.
func (c *configs) keyed(name string, old, now map[string]string) {
	var keys []string
	for k := range old {
		keys = append(keys, k)
	}
	for k := range now {
		if _, ok := old[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		a, hasA := old[k]
		b, hasB := now[k]
		switch {
		case hasA && hasB && a != b:
			c.out = append(c.out, FieldChange{Kind: "C", Field: name, Key: k, Old: a, New: b})
		case !hasA:
			c.out = append(c.out, FieldChange{Kind: "A", Field: name, Key: k, New: b})
		case !hasB:
			c.out = append(c.out, FieldChange{Kind: "D", Field: name, Key: k, Old: a})
		}
	}
}

func platformOf(c *image.Config) string {
	s := c.OS + "/" + c.Architecture
	if c.Variant != "" {
		s += "/" + c.Variant
	}
	return s
}

// text is v as JSON; "" for null.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil || string(b) == "null" {
		return ""
	}
	return string(b)
}

func list(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return text(s)
}

func environ(env []string) map[string]string {
	m := map[string]string{}
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		m[k] = v
	}
	return m
}

func set(m map[string]struct{}) map[string]string {
	out := map[string]string{}
	for k := range m {
		out[k] = ""
	}
	return out
}

// LineChange is a difference of the instructions: "-" is in the first image alone, "+" in the second.
type LineChange struct {
	Kind        string
	Instruction string
}

// CompareHistories lists the instructions that only one of two images has, in order.
func CompareHistories(a, b []ocispec.History) []LineChange {
	x, y := createdBy(a), createdBy(b)
	for len(x) > 0 && len(y) > 0 && x[0] == y[0] {
		x, y = x[1:], y[1:]
	}
	for len(x) > 0 && len(y) > 0 && x[len(x)-1] == y[len(y)-1] {
		x, y = x[:len(x)-1], y[:len(y)-1]
	}
	var out []LineChange
	common := longest(x, y)
	for len(x) > 0 || len(y) > 0 {
		switch {
		case len(common) > 0 && len(x) > 0 && len(y) > 0 && x[0] == common[0] && y[0] == common[0]:
			x, y, common = x[1:], y[1:], common[1:]
		case len(x) > 0 && (len(common) == 0 || x[0] != common[0]):
			out = append(out, LineChange{"-", x[0]})
			x = x[1:]
		default:
			out = append(out, LineChange{"+", y[0]})
			y = y[1:]
		}
	}
	return out
}

// maxLines bounds how many instructions are aligned: the work is their square.
const maxLines = 2000

func createdBy(h []ocispec.History) (out []string) {
	for i := range h {
		out = append(out, h[i].CreatedBy)
	}
	return out
}

// longest is a longest common subsequence.
func longest(x, y []string) []string {
	x, y = x[:min(len(x), maxLines)], y[:min(len(y), maxLines)]
	rows := make([][]int32, len(x)+1)
	for i := range rows {
		rows[i] = make([]int32, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				rows[i][j] = rows[i+1][j+1] + 1
			} else {
				rows[i][j] = max(rows[i+1][j], rows[i][j+1])
			}
		}
	}
	var out []string
	for i, j := 0, 0; i < len(x) && j < len(y); {
		switch {
		case x[i] == y[j]:
			out = append(out, x[i])
			i, j = i+1, j+1
		case rows[i+1][j] >= rows[i][j+1]:
			i++
		default:
			j++
		}
	}
	return out
}
