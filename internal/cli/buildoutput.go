package cli

import (
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
)

// outputs are the --output flags, opened: archives get their names when all of the build went well.
type outputs struct {
	list  []engine.BuildOutput
	files []*outFile
}

// openOutputs reads --output, --push and --load.
func (a *app) openOutputs(o buildOptions) (*outputs, error) {
	var out outputs
	for _, s := range o.outputs {
		b, err := a.openOutput(s, &out)
		if err != nil {
			return nil, errors.Join(err, out.discard())
		}
		out.list = append(out.list, b)
	}
	if (o.push || o.load) && !slices.ContainsFunc(out.list, func(b engine.BuildOutput) bool { return b.Type == engine.OutputImage }) {
		out.list = append(out.list, engine.BuildOutput{Type: engine.OutputImage})
	}
	for i := range out.list {
		if o.push && out.list[i].Type == engine.OutputImage {
			out.list[i].Push = true
		}
		if out.list[i].NoStore && !out.list[i].Push {
			return nil, errors.Join(errdefs.Invalid("--output: store=false without push=true: nothing would become of the image; use type=cacheonly"), out.discard())
		}
	}
	return &out, nil
}

// openOutput reads one --output as buildx has it: type=TYPE,KEY=VALUE..., a directory, or - for a tar on standard output.
func (a *app) openOutput(s string, out *outputs) (engine.BuildOutput, error) {
	fields, err := csvFields("--output", s)
	if err != nil {
		return engine.BuildOutput{}, err
	}
	switch {
	case len(fields) == 1 && fields[0] == "-":
		return a.archiveOutput(engine.BuildOutput{Type: engine.OutputTar}, "-", out)
	case len(fields) == 1 && !strings.Contains(fields[0], "="):
		return engine.BuildOutput{Type: engine.OutputLocal, Dest: fields[0]}, nil
	}
	attrs, err := csvAttrs("--output", s, fields)
	if err != nil {
		return engine.BuildOutput{}, err
	}
	take := func(key string) string {
		v := attrs[key]
		delete(attrs, key)
		return v
	}
	b := engine.BuildOutput{Type: take("type")}
	dest, asTar := take("dest"), take("tar")
	for n := range strings.SplitSeq(take("name"), ",") {
		if n = strings.TrimSpace(n); n != "" {
			b.Names = append(b.Names, n)
		}
	}
	push, err := boolAttr("push", take("push"))
	if err != nil {
		return b, err
	}
	b.Push = push
	if b.Type == "registry" {
		b.Type, b.Push = engine.OutputImage, true
	}
	// What camada always does, or has no second way of: said by many scripts.
	for _, key := range []string{"oci-mediatypes", "store", "unpack", "rewrite-timestamp", "name-canonical", "push-by-digest"} {
		if v, ok := attrs[key]; ok {
			on, err := boolAttr(key, v)
			if err != nil {
				return b, err
			}
			if key == "push-by-digest" && on || key == "oci-mediatypes" && !on {
				return b, errdefs.Unsupported("--output %s: %s=%s is not supported", s, key, v)
			}
			b.NoStore = b.NoStore || key == "store" && !on
			delete(attrs, key)
		}
	}
	switch c := take("compression"); c {
	case "", "gzip":
	case "zstd":
		b.Zstd = true
	default:
		return b, errdefs.Unsupported("--output %s: compression=%s: want gzip or zstd", s, c)
	}
	if len(attrs) > 0 {
		return b, errdefs.Invalid("--output %s: unknown key %q", s, slices.Sorted(maps.Keys(attrs))[0])
	}
	return a.placeOutput(b, s, dest, asTar, out)
}

// placeOutput opens what an output is written to.
func (a *app) placeOutput(b engine.BuildOutput, s, dest, asTar string, out *outputs) (engine.BuildOutput, error) {
	switch b.Type {
	case engine.OutputImage, engine.OutputNone:
		if dest != "" {
			return b, errdefs.Invalid("--output %s: dest goes with oci, docker, local and tar", s)
		}
		return b, nil
	case engine.OutputLocal:
		if dest == "" {
			return b, errdefs.Invalid("--output %s: want dest=DIRECTORY", s)
		}
		b.Dest = dest
		return b, nil
	case engine.OutputTar, engine.OutputDocker, engine.OutputOCI:
		archive := true
		if asTar != "" {
			var err error
			if archive, err = boolAttr("tar", asTar); err != nil {
				return b, err
			}
		}
		if !archive {
			if b.Type != engine.OutputOCI || dest == "" {
				return b, errdefs.Invalid("--output %s: tar=false goes with type=oci and dest=DIRECTORY", s)
			}
			b.Dest = dest
			return b, nil
		}
		if dest == "" {
			if b.Type == engine.OutputDocker { // as buildx: into the local store
				b.Type = engine.OutputImage
				return b, nil
			}
			dest = "-"
		}
		return a.archiveOutput(b, dest, out)
	case "":
		return b, errdefs.Invalid("--output %s: want type=image, registry, oci, docker, local, tar or cacheonly", s)
	}
	return b, errdefs.Invalid("--output %s: type %q: want image, registry, oci, docker, local, tar or cacheonly", s, b.Type)
}

// archiveOutput opens the file of an archive; - is standard output, unless that is a terminal.
func (a *app) archiveOutput(b engine.BuildOutput, dest string, out *outputs) (engine.BuildOutput, error) {
	if dest == "-" {
		f, ok := a.stdout.(*os.File)
		if !ok || isTerminal(f) {
			return b, errdefs.Invalid("--output: standard output is a terminal; name a file with dest= or redirect it")
		}
		b.Writer = f
		return b, nil
	}
	f, err := newFile(dest)
	if err != nil {
		return b, fmt.Errorf("--output: make %s: %w", dest, err)
	}
	out.files = append(out.files, f)
	b.Writer = f.File
	return b, nil
}

// finish gives the files their names when the build went well, and removes them when not.
func (o *outputs) finish(err error) error {
	for _, f := range o.files {
		if err == nil {
			if err = f.publish(); err != nil {
				err = fmt.Errorf("--output: write %s: %w", f.name, err)
			}
		}
	}
	return errors.Join(err, o.discard())
}

func (o *outputs) discard() error {
	var errs []error
	for _, f := range o.files {
		errs = append(errs, f.discard())
	}
	return errors.Join(errs...)
}

// csvFields splits the value of a flag at its commas; a field with a comma is quoted.
func csvFields(flag, s string) ([]string, error) {
	fields, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return nil, errdefs.Invalid("%s %q: want fields with commas between them", flag, s)
	}
	return fields, nil
}

// csvAttrs reads KEY=VALUE fields. Keys are in lower case, each once.
func csvAttrs(flag, s string, fields []string) (map[string]string, error) {
	attrs := make(map[string]string, len(fields))
	for _, f := range fields {
		k, v, ok := strings.Cut(f, "=")
		k = strings.ToLower(strings.TrimSpace(k))
		if !ok || k == "" {
			return nil, errdefs.Invalid("%s %s: %q is not KEY=VALUE", flag, s, f)
		}
		if _, twice := attrs[k]; twice {
			return nil, errdefs.Invalid("%s %s: %s is given twice", flag, s, k)
		}
		attrs[k] = v
	}
	return attrs, nil
}

// boolAttr reads true or false; "" is false.
func boolAttr(key, v string) (bool, error) {
	switch strings.ToLower(v) {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	}
	return false, errdefs.Invalid("%s=%s: want true or false", key, v)
}
