package language

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
)

// dependency is one of a pom.xml; the version may be "".
func dependency(group, artifact, version, more string) string {
	if version != "" {
		version = "<version>" + version + "</version>"
	}
	return "<dependency><groupId>" + group + "</groupId><artifactId>" + artifact + "</artifactId>" + version + more + "</dependency>"
}

func managedBy(dependencies ...string) string {
	return "<dependencyManagement><dependencies>" + strings.Join(dependencies, "") + "</dependencies></dependencyManagement>"
}

func dependsOn(dependencies ...string) string {
	return "<dependencies>" + strings.Join(dependencies, "") + "</dependencies>"
}

// pom is a project g:artifact of a version, which may be "".
func pom(artifact, version string, more ...string) []byte {
	if version != "" {
		version = "<groupId>g</groupId><version>" + version + "</version>"
	}
	return []byte(`<?xml version="1.0" encoding="UTF-8"?><project xmlns="http://maven.apache.org/POM/4.0.0"><!-- c --><modelVersion>4.0.0</modelVersion>` + version + "<artifactId>" + artifact + "</artifactId>" + strings.Join(more, "\n") + "</project>")
}

func parentIs(artifact, version, path string) string {
	return "<parent><groupId>g</groupId><artifactId>" + artifact + "</artifactId><version>" + version + "</version>" + path + "</parent>"
}

func TestProjects(t *testing.T) {
	imports := "<type>pom</type><scope>import</scope>"
	tree := fstest.MapFS{}
	for name, data := range map[string][]byte{
		// Two modules of one project: versions come from properties, from the parent's management, and from a list that the parent imports.
		"pom.xml": pom("parent", "${revision}", "<properties><revision>3.1</revision><log.version>2.14.1</log.version><loop>${pool}</loop><pool>${loop}</pool></properties>",
			managedBy(dependency("org.apache", "log4j", "${log.version}", ""), dependency("g", "bom", "1", imports), dependency("org.absent", "bom", "1", imports))),
		"bom/pom.xml": pom("bom", "1", "<properties><jackson>2.9.8</jackson></properties>", managedBy(dependency("com.fasterxml", "databind", "${jackson}", ""))),
		"a/pom.xml": pom("a", "", parentIs("parent", "3.1", ""), dependsOn(
			dependency("org.apache", "log4j", "", ""), dependency("com.fasterxml", "databind", "", "<scope>test</scope>"), dependency("${project.groupId}", "b", "${project.version}", ""),
			dependency("org.ranges", "r", "[1.0,2.0)", ""), dependency("org.pinned", "p", "[1.5]", ""), dependency("org.same", "s-${project.parent.version}", "${project.version}", ""))),
		"b/pom.xml": pom("b", "", parentIs("parent", "3.1", "<relativePath>../</relativePath>"), "<properties><log.version>2.17.2</log.version></properties>", dependsOn(dependency("org.apache", "log4j", "", ""))),
		// What its parent says is not here; what it says itself is.
		"c/pom.xml": pom("c", "1", parentIs("elsewhere", "1", "<relativePath/>"), dependsOn(dependency("org.x", "x", "1", ""), dependency("org.y", "y", "", ""))),
		"d/pom.xml": pom("d", "1", parentIs("parent", "${revision}", ""), dependsOn(dependency("org.x", "x", "${loop}", ""))),
		"e/pom.xml": []byte("<project>"),
		"f/pom.xml": []byte("<html></html>"),
		"WEB-INF/classes/META-INF/maven/g/packed/pom.xml":        pom("packed", "1", dependsOn(dependency("no", "no", "1", ""))),
		"WEB-INF/classes/META-INF/maven/g/packed/pom.properties": []byte("groupId=g\nartifactId=packed\nversion=1\n"),
	} {
		tree[name] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	pkgs, unread, err := ReadTree(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range pkgs {
		got = append(got, p.Found+" "+p.Name+" "+p.Version)
	}
	want := []string{
		"WEB-INF/classes/META-INF/maven/g/packed/pom.properties g:packed 1",
		"a/pom.xml org.apache:log4j 2.14.1", "a/pom.xml com.fasterxml:databind 2.9.8", "a/pom.xml org.pinned:p 1.5", "a/pom.xml org.same:s-3.1 3.1",
		"b/pom.xml org.apache:log4j 2.17.2", "c/pom.xml org.x:x 1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if want := []string{"e/pom.xml", "f/pom.xml", "c/pom.xml", "d/pom.xml"}; !reflect.DeepEqual(unread, want) {
		t.Errorf("unread: %q, want %q", unread, want)
	}
}

// Parents and lists that lead back to themselves, and names that grow, come to an end.
func TestHostileProjects(t *testing.T) {
	imports := "<scope>import</scope>"
	projects := map[string]*Project{}
	add := func(name string, data []byte) {
		t.Helper()
		p, err := parseProject(data)
		if err != nil {
			t.Fatal(err)
		}
		projects[name] = p
	}
	add("a/pom.xml", pom("a", "1", parentIs("b", "1", "<relativePath>../b/pom.xml</relativePath>"), dependsOn(dependency("x", "x", "${y}", ""))))
	add("b/pom.xml", pom("b", "1", parentIs("a", "1", "<relativePath>../a/pom.xml</relativePath>"), dependsOn(dependency("x", "x", "", ""))))
	var lists []string
	for i := range 40 {
		lists = append(lists, dependency("g", fmt.Sprintf("l%d", i), "1", imports))
	}
	for i := range 40 {
		add(fmt.Sprintf("l%d/pom.xml", i), pom(fmt.Sprintf("l%d", i), "1", managedBy(lists...), dependsOn(dependency("x", "x", "", ""))))
	}
	grows := "<p0>${p0x}</p0><p0x>" + strings.Repeat("a", 500) + "</p0x>"
	empty := "<q0></q0>"
	for i := range 60 {
		grows += fmt.Sprintf("<p%d>${p%d}${p%d}</p%d>", i+1, i, i, i+1)
		empty += fmt.Sprintf("<q%d>${q%d}${q%d}</q%d>", i+1, i, i, i+1)
	}
	add("p/pom.xml", pom("p", "1", "<properties>"+grows+empty+"</properties>", dependsOn(dependency("x", "x", "${p60}", ""), dependency("x", "y", "1${q60}", ""), dependency("x", "z", "${", ""))))
	pkgs, unread, err := Resolve(projects)
	if err != nil || len(pkgs) != 0 || len(unread) != len(projects) {
		t.Errorf("%v, unread %q, %v", pkgs, unread, err)
	}

	for _, bad := range []struct {
		data  string
		class func(error) bool
	}{
		{strings.Repeat(" ", maxPom+1), errdefs.IsLimit},
		{string(pom("a", "1", dependsOn(strings.Repeat("<dependency/>", maxProject+1)))), errdefs.IsLimit},
		{"<!DOCTYPE project [<!ENTITY a \"b\">]><project>&a;</project>", errdefs.IsInvalid},
		{strings.Repeat("<project>", 1000), errdefs.IsLimit},
	} {
		if _, err := ParseProject("x/pom.xml", strings.NewReader(bad.data)); !bad.class(err) {
			t.Errorf("%.60s: %v", bad.data, err)
		}
	}
}

// A jar that Maven made without its properties has the pom.xml; one in which others were packed has theirs as well.
func TestPackedProjects(t *testing.T) {
	at := func(artifact, file string) string { return "META-INF/maven/g/" + artifact + "/" + file }
	jar := zipped(t,
		at("own", "pom.xml"), string(pom("own", "", parentIs("parent", "5", ""), "<properties><x>1</x></properties>", dependsOn(dependency("no", "no", "1", "")))),
		at("shaded", "pom.xml"), "no XML at all", at("shaded", "pom.properties"), "groupId=g\nartifactId=shaded\nversion=2\n",
		at("computed", "pom.xml"), string(pom("computed", "${major}.1", "<properties><major>7</major></properties>")),
		at("unknown", "pom.xml"), string(pom("unknown", "${env.X}")),
	)
	pkgs, err := Parse("app.jar", zipped(t, "lib/in.jar", string(jar)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := told(pkgs), []string{"pkg:maven/g/shaded@2", "pkg:maven/g/computed@7.1", "pkg:maven/g/own@5"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	// What is broken in an archive hides nothing else, and is told.
	broken := zipped(t, "a.jar", "no archive", "b.jar", string(jar), "c.jar", string(zipped(t, at("bad", "pom.xml"), "<project>")))
	pkgs, err = Parse("app.jar", broken)
	if !errdefs.IsInvalid(err) || !strings.Contains(fmt.Sprint(err), "a.jar") || len(pkgs) != 3 {
		t.Errorf("%q, %v", told(pkgs), err)
	}
	whole, unread, err := ReadTree(t.Context(), fstest.MapFS{"app.jar": {Data: broken, Mode: 0o644}})
	if err != nil || len(whole) != 3 || !slices.Equal(unread, []string{"app.jar"}) {
		t.Errorf("%q, unread %q, %v", told(whole), unread, err)
	}
}

func TestGradle(t *testing.T) {
	for _, name := range []string{"gradle.lockfile", "app/buildscript-gradle.lockfile", "settings-gradle.lockfile", "gradle/dependency-locks/compileClasspath.lockfile"} {
		pkgs, err := Parse(name, []byte("# c\norg.a:b:1.0=compileClasspath,runtimeClasspath\norg.c:d:2\nempty=x\n"))
		if err != nil || !Wanted(name, 0o644, 1) {
			t.Errorf("%s: %v", name, err)
		}
		if got, want := told(pkgs), []string{"pkg:maven/org.a/b@1.0", "pkg:maven/org.c/d@2"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if Wanted("other.lockfile", 0o644, 1) {
		t.Error("any lockfile is wanted")
	}
}

func FuzzResolve(f *testing.F) {
	f.Add(pom("a", "1", parentIs("b", "1", ""), "<properties><v>1</v></properties>", dependsOn(dependency("x", "y", "${v}", ""))), pom("b", "1", managedBy(dependency("x", "z", "2", ""))))
	f.Add(pom("a", "${a}", dependsOn(dependency("${project.groupId}", "y", "[1]", ""))), []byte("<project/>"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		projects := map[string]*Project{}
		for name, data := range map[string][]byte{"a/pom.xml": a, "pom.xml": b} {
			if p, err := parseProject(data); err == nil {
				projects[name] = p
			}
		}
		pkgs, _, err := Resolve(projects)
		if err != nil {
			t.Error(err)
		}
		for name, list := range pkgs {
			for _, p := range list {
				if p.Type != "maven" || p.Found != name || p.Version == "" || strings.ContainsAny(p.PURL, " \n\"") || p != library(t, p) {
					t.Errorf("a bad package: %+v", p)
				}
			}
		}
	})
}

func library(t *testing.T, p inventory.Package) inventory.Package {
	out, err := inventory.Library(p)
	if err != nil {
		t.Error(err)
	}
	return out
}
