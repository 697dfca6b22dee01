package format_test

import (
	"bytes"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
)

type row struct {
	ID   string
	Tags []string
}

func TestWrite(t *testing.T) {
	table := format.Table[row]{Columns: []format.Column[row]{
		{Header: "ID", Value: func(r row) string { return r.ID }},
		{Header: "FIRST TAG", Value: func(r row) string { return r.Tags[0] }},
	}}
	rows := []row{{"1", []string{"a:1", "b<c"}}, {"22\x1b[2J", []string{"x"}}}
	for how, want := range map[string]string{
		"":                         "ID       FIRST TAG\n1        a:1\n22 [2J   x\n",
		"{{.ID}} {{len .Tags}}":    "1 2\n22\x1b[2J 1\n",
		`{{join .Tags "+"}}`:       "a:1+b<c\nx\n",
		`{{json .Tags}}`:           "[\"a:1\",\"b<c\"]\n[\"x\"]\n",
		`table {{.ID}}\t{{.Tags}}`: "ID       TAGS\n1        [a:1 b<c]\n22\x1b[2J   [x]\n",
		"json":                     "{\"ID\":\"1\",\"Tags\":[\"a:1\",\"b<c\"]}\n{\"ID\":\"22\\u001b[2J\",\"Tags\":[\"x\"]}\n",
	} {
		var b bytes.Buffer
		if err := table.Write(&b, how, rows); err != nil {
			t.Errorf("%q: %v", how, err)
		} else if b.String() != want {
			t.Errorf("%q gives\n%q, want\n%q", how, b.String(), want)
		}
	}
	for _, how := range []string{"{{.Nope}}", "{{", "{{.ID | nope}}"} {
		if err := table.Write(&bytes.Buffer{}, how, rows); !errdefs.IsInvalid(err) {
			t.Errorf("%q: %v, want an invalid argument", how, err)
		}
	}
}
