package hcl

import "testing"

// TestTemplates compares what templates make with what the well-known library makes of the same text.
func TestTemplates(t *testing.T) {
	for src, want := range map[string]any{
		`"%{ if yes }on%{ else }off%{ endif }"`:                         "on",
		`"%{ if !yes }on%{ else }off%{ endif }"`:                        "off",
		`"%{if !yes}on%{endif}"`:                                        "",
		`"a %{ if yes ~}  on  %{~ else ~}  off  %{~ endif } b"`:         "a on b",
		`"%{ for s in list }<${s}>%{ endfor }"`:                         "<a><b>",
		`"%{ for i, s in list ~} ${i}=${s}, %{~ endfor }"`:              "0=a,1=b,",
		`"%{ for k, v in {b = 1, a = 2} }${k}${v} %{ endfor }"`:         "a2 b1 ",
		`"%{ for s in list }%{ if s == "b" }${s}%{ endif }%{ endfor }"`: "b",
		`"%{ for s in [] }${s}%{ endfor }"`:                             "",
		`"%{ if yes }${n}%{ endif }"`:                                   "3",
		`"${ name ~}  x"`:                                               "appx",
		`"x \n ${~ name }"`:                                             "xapp",
		`"${~ list ~}"`:                                                 []any{"a", "b"},
		`" ${~ n }"`:                                                    "3",
		`"$${name} %%{if} $$${name} $x %d 100%"`:                        "${name} %{if} $${name} $x %d 100%",
		`"%{ if "${"in"}" == "in" }${"q"}%{ endif }"`:                   "q",
		"<<E\n%{ for s in list ~}\nserver ${s}\n%{ endfor ~}\nend\nE":   "server a\nserver b\nend\n",
		"<<E\n%{ for s in list }\n- ${s}\n%{ endfor }\nE":               "\n- a\n\n- b\n\n",
		"<<-E\n    %{ if yes ~}\n    a\n    %{ endif ~}\n    b\n    E":  "    a\n    b\n",
		"<<-E\n    %{~ if yes }\n    a\n    %{~ endif }\n    b\n    E":  "\n    a\n\n    b\n",
		"<<-E\n    a\n  \n\n      ${name}\n    E":                       "a\n  \n\n  app\n",
		"<<-E\n\t\ta\n\t  b\n\tE":                                       "a\n b\n",
		"<<-E\n  a\n${name}\n  E":                                       "  a\napp\n",
		"<<E\n$${a} %%{b} \\n $c\nE":                                    "${a} %{b} \\n $c\n",
		"<<E\n${name}\nE":                                               "app\n",
		"<<E\n${\n  name\n}E\nE":                                        "appE\n",
		"<<E\n  x E\n  E":                                               "  x E\n",
		"<<E\nE":                                                        "",
		"<<-E\n  x ${join(\"-\", [for s in list :\n s])}\n    y\n  E":   "x a-b\n  y\n",
	} {
		body, err := Parse("f", []byte("x = "+src+"\n"))
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		got, err := body.Attrs[0].Expr.Eval(testScope())
		if list, ok := want.([]any); ok {
			if gotList, ok := got.([]any); !ok || len(gotList) != len(list) {
				t.Errorf("%s: %v, %v", src, got, err)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%s:\n got %q, %v\nwant %q", src, got, err, want)
		}
	}
}

// TestTemplateOfJSON reads the strings of JSON files, which have no escapes with a backslash.
func TestTemplateOfJSON(t *testing.T) {
	for src, want := range map[string]string{
		"%{if yes}a\\n${name}%{endif}":    "a\\napp",
		"a\n  %{~ if yes ~}\n  b%{endif}": "a\n  b",
		"$${x}":                           "${x}",
	} {
		e, err := ParseTemplate(src, 0)
		if err != nil {
			t.Errorf("%q: %v", src, err)
			continue
		}
		if got, err := e.Eval(testScope()); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", src, got, err, want)
		}
	}
}
