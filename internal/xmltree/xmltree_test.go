package xmltree

import (
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
)

func TestParse(t *testing.T) {
	e, err := Parse([]byte(`<?xml version="1.0"?><!-- c --><s3:R xmlns="x" a="b"> <K>a&amp;&#x21;&#33;<![CDATA[<&]]></K><E/><P><Q>1</Q></P><P><Q>2</Q></P></s3:R>` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "R" || e.Get("K") != "a&!!<&" || e.Get("E") != "" || len(e.All("P")) != 2 || e.All("P")[1].Get("Q") != "2" {
		t.Errorf("%+v", e)
	}
	for _, bad := range []string{"", "x", "<a", "<a>", "<a></b>", "<a></a><b></b>", "</a>", "<a>&x;</a>", "<a>&#x110000;</a>", "<!DOCTYPE a><a></a>", "<></>", "<a>" + strings.Repeat("<b/>", maxElements) + "</a>", strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100)} {
		if e, err := Parse([]byte(bad)); !errdefs.IsCorrupt(err) && !errdefs.IsLimit(err) {
			t.Errorf("%.30q: %+v, %v", bad, e, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><!-- c --><a:b x="y">&lt;<![CDATA[z]]><c/></a:b>`))
	f.Add([]byte("\ufeff<a><b>&#65;</b></a>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if err != nil {
			if !errdefs.IsCorrupt(err) && !errdefs.IsLimit(err) {
				t.Errorf("an error without a class: %v", err)
			}
			return
		}
		var size func(e *Element) int
		size = func(e *Element) int {
			n := len(e.Text)
			for _, c := range e.In {
				n += size(c)
			}
			return n
		}
		if e.Name == "" || size(e) > len(data) {
			t.Errorf("%q has more in it than %d bytes", e.Name, len(data))
		}
	})
}
