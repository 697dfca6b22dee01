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

func TestShow(t *testing.T) {
	v := struct {
		ID    string `json:"Id"`
		Inner struct {
			N int64 `json:"number"`
		}
	}{ID: "x"}
	v.Inner.N = 1 << 60
	for how, want := range map[string]string{
		"{{.ID}}": "x\n", "{{.Id}}": "x\n", "{{.Inner.number}} {{.Id}}": "1152921504606846976 x\n", "{{json .Inner}}": "{\"number\":1152921504606846976}\n",
		`{{.ID}}{{"\n"}}\t{{.ID}}\n`:                       "x\n\tx\n\n",
		`{{title .ID}}{{truncate "abc" 2}}{{title "a b"}}`: "XabA B\n",
	} {
		var b bytes.Buffer
		if err := format.Show(&b, how, v); err != nil || b.String() != want {
			t.Errorf("%s gives %q, %v; want %q", how, b.String(), err, want)
		}
	}
	if err := format.Show(&bytes.Buffer{}, "{{.Nope}}", v); !errdefs.IsInvalid(err) {
		t.Errorf("%v, want ErrInvalid", err)
	}
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
