package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/policy/cel"
	"github.com/camada/camada/reference"
)

// Variables are those of expressions, with their types.
func Variables() map[string]*cel.Type {
	texts, words := cel.ListOf(cel.String), cel.MapOf(cel.String, cel.String)
	config := cel.Struct("config", map[string]*cel.Type{"user": cel.String, "entrypoint": texts, "cmd": texts, "env": texts, "workdir": cel.String,
		"ports": texts, "volumes": texts, "stopsignal": cel.String, "healthcheck": cel.Bool})
	image := cel.Struct("image", map[string]*cel.Type{"reference": cel.String, "host": cel.String, "repository": cel.String, "name": cel.String, "tag": cel.String,
		"digest": cel.String, "size": cel.Int, "layers": cel.Int, "created": cel.Timestamp, "platform": cel.String, "os": cel.String, "architecture": cel.String,
		"labels": words, "annotations": words, "config": config})
	signature := map[string]*cel.Type{"signer": cel.String, "identity": cel.String, "issuer": cel.String, "key": cel.String}
	attestation := map[string]*cel.Type{"signer": cel.String, "identity": cel.String, "issuer": cel.String, "key": cel.String, "type": cel.String}
	return map[string]*cel.Type{
		"image":   image,
		"request": cel.Struct("request", map[string]*cel.Type{"action": cel.String, "namespace": cel.String, "user": cel.String}),
		"now":     cel.Timestamp,
		"base":    cel.Struct("base", map[string]*cel.Type{"name": cel.String, "digest": cel.String}),
		"packages": cel.ListOf(cel.Struct("package", map[string]*cel.Type{"name": cel.String, "version": cel.String, "type": cel.String, "license": cel.String,
			"supplier": cel.String, "purl": cel.String, "path": cel.String, "layer": cel.Int})),
		"scan": cel.Struct("scan", map[string]*cel.Type{"database": cel.Timestamp, "packages": cel.Int, "complete": cel.Bool}),
		"vulnerabilities": cel.ListOf(cel.Struct("vulnerability", map[string]*cel.Type{"id": cel.String, "aliases": texts, "package": cel.String, "version": cel.String,
			"severity": cel.String, "score": cel.Double, "fixed": cel.String, "status": cel.String, "exploited": cel.Bool, "epss": cel.Double, "from": cel.String})),
		"secrets":      cel.ListOf(cel.Struct("secret", map[string]*cel.Type{"rule": cel.String, "where": cel.String, "path": cel.String, "layer": cel.Int, "hidden": cel.Bool})),
		"signatures":   cel.ListOf(cel.Struct("signature", signature)),
		"attestations": cel.ListOf(cel.Struct("attestation", attestation)),
	}
}

// costs says what variables cost.
func costs(name string) int {
	switch name {
	case "request", "now":
		return costName
	case "image":
		return costManifest
	case "signatures", "attestations":
		return costSignature
	case "base":
		return costBase
	case "packages":
		return costPackages
	case "scan", "vulnerabilities":
		return costScan
	}
	return costSecrets
}

// expression is a condition in CEL.
func expression(p *cel.Program) condition {
	cost := costName
	for _, name := range p.Variables() {
		cost = max(cost, costs(name))
	}
	return condition{"cel", cost, func(ctx context.Context, j *judge) (finding, error) {
		v, err := p.Eval(ctx, func(name string) (any, error) { return j.variable(ctx, name) })
		if err != nil {
			return finding{}, fmt.Errorf("cel: %w", err)
		}
		holds, ok := v.(bool)
		if !ok {
			return finding{}, errdefs.Invalid("cel: the expression is no bool")
		}
		f := finding{fact: "it is true: " + p.String()}
		if !holds {
			f.fact = "it is false: " + p.String()
			f.reason = f.fact
		}
		return f, nil
	}}
}

type object = map[string]any

func list[T any](in []T, of func(T) any) []any {
	out := make([]any, len(in))
	for i, v := range in {
		out[i] = of(v)
	}
	return out
}

func text(s string) any { return s }

func words(m map[string]string) object {
	out := make(object, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// variable finds out what an expression asks for.
func (j *judge) variable(ctx context.Context, name string) (any, error) {
	switch name {
	case "now":
		return j.q.Now.UTC(), nil
	case "request":
		return object{"action": string(j.q.Action), "namespace": j.q.Namespace, "user": j.q.User}, nil
	case "image":
		img, err := j.facts.Image(ctx)
		if err != nil {
			return nil, err
		}
		return j.image(img), nil
	case "base":
		b, err := j.base(ctx)
		if err != nil {
			return nil, err
		}
		return object{"name": b.Name, "digest": b.Digest}, nil
	case "packages":
		all, err := j.facts.Packages(ctx)
		return list(all, func(p Package) any {
			return object{"name": p.Name, "version": p.Version, "type": p.Type, "license": p.License, "supplier": p.Supplier, "purl": p.PURL, "path": p.Path, "layer": int64(p.Layer)}
		}), err
	case "scan":
		s, err := j.facts.Vulnerabilities(ctx)
		if err != nil {
			return nil, err
		}
		return object{"database": s.Database.UTC(), "packages": int64(s.Packages), "complete": s.Incomplete == nil}, nil
	case "vulnerabilities":
		s, err := j.scan(ctx)
		if err != nil {
			return nil, err
		}
		return list(s.Findings, func(v Vulnerability) any {
			return object{"id": v.ID, "aliases": list(v.Aliases, text), "package": v.Package, "version": v.Version, "severity": v.Severity.String(), "score": v.Score,
				"fixed": v.Fixed, "status": v.Status, "exploited": v.Exploited, "epss": v.EPSS, "from": v.From}
		}), nil
	case "secrets":
		all, err := j.facts.Secrets(ctx)
		return list(all, func(s Secret) any {
			return object{"rule": s.Rule, "where": s.Where, "path": s.Path, "layer": int64(s.Layer), "hidden": s.Hidden}
		}), err
	case "signatures", "attestations":
		return j.signatures(ctx, name == "attestations")
	}
	return nil, errors.New("there is no variable " + name)
}

// image is the variable of that name. What names say is empty when there are several that do not agree.
func (j *judge) image(img *Image) object {
	o := object{"reference": "", "host": "", "repository": "", "name": "", "tag": "", "digest": img.Digest, "size": img.Size, "layers": int64(img.Layers), "created": img.Created.UTC(),
		"platform": img.Platform(), "os": img.OS, "architecture": img.Arch, "labels": words(img.Labels), "annotations": words(img.Annotations),
		"config": object{"user": orElse(j.q.RunAs, img.User), "entrypoint": list(img.Entrypoint, text), "cmd": list(img.Cmd, text), "env": list(img.Env, text), "workdir": img.WorkingDir,
			"ports": list(img.Ports, text), "volumes": list(img.Volumes, text), "stopsignal": img.StopSignal, "healthcheck": img.Healthcheck}}
	for i, n := range j.q.Names {
		for key, v := range map[string]string{"reference": n.String(), "host": n.Host, "repository": n.Repository, "name": n.Name(), "tag": n.Tag} {
			if i > 0 && o[key] != v {
				v = ""
			}
			o[key] = v
		}
	}
	return o
}

// base is what an image was built from, confirmed. What an image says of itself makes nobody ask another registry than its own: no rule allows that one.
func (j *judge) base(ctx context.Context) (*Base, error) {
	b, err := j.facts.Base(ctx)
	if err != nil {
		return nil, err
	}
	if !b.Built && b.Name != "scratch" {
		ref, err := reference.Parse(b.Name)
		if err != nil {
			return nil, fmt.Errorf("the base image that it names: %w", err)
		}
		if !slices.ContainsFunc(j.q.Names, func(n reference.Reference) bool { return n.Host == ref.Host }) {
			return nil, errdefs.Unavailable("the registry %s is not asked for the base image because an image of another place names it: base-allowed asks the registries that it allows", ref.Host)
		}
	}
	return j.facts.Confirm(ctx, b)
}

func (j *judge) signatures(ctx context.Context, attestations bool) (any, error) {
	types := []string{""}
	if attestations {
		types = slices.Concat(slices.Collect(maps.Values(predicates()))...)
		slices.Sort(types)
	}
	var all []Signature
	for _, by := range j.policy.Signers() {
		for _, t := range types {
			some, err := j.facts.Signatures(ctx, by, t)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		}
	}
	out := []any{}
	for _, s := range all {
		o := object{"signer": s.Signer, "identity": s.Identity, "issuer": s.Issuer, "key": s.Key}
		if attestations {
			o["type"] = s.PredicateType
		}
		out = append(out, o)
	}
	return out, nil
}
