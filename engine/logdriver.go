package engine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/template"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
)

// The log drivers.
const (
	logJSONFile = "json-file"
	logLocal    = "local"
	logJournald = "journald"
	logNone     = "none"
)

// journalSocket is where journald listens.
const journalSocket = "/run/systemd/journal/socket"

// logOptions are --log-opt, understood.
type logOptions struct {
	record.LogOptions
	labels, env []string
	tag         string
}

// parseLogOptions reads --log-driver and --log-opt.
func parseLogOptions(driver string, opts map[string]string) (logOptions, error) {
	var o logOptions
	file := false
	switch driver {
	case "", logJSONFile:
		o.MaxFiles, file = 1, true
	case logLocal:
		o.MaxSize, o.MaxFiles, o.Compress, file = 20<<20, 5, true, true
	case logNone:
	case logJournald:
		if _, err := os.Stat(journalSocket); err != nil {
			return o, errdefs.Unsupported("--log-driver journald: there is no journald on this machine (%s)", journalSocket)
		}
	default:
		return o, errdefs.Unsupported("--log-driver %s: want json-file, local, journald or none", driver)
	}
	for name, value := range opts {
		var err error
		switch {
		case name == "labels" && driver != logNone:
			o.labels = strings.Split(value, ",")
		case name == "env" && driver != logNone:
			o.env = strings.Split(value, ",")
		case name == "tag" && driver != logNone:
			o.tag = value
			_, err = template.New("").Parse(value)
		case name == "max-size" && file:
			o.MaxSize, err = parseSize(value)
		case name == "max-file" && file:
			if o.MaxFiles, err = strconv.Atoi(value); err == nil && o.MaxFiles < 1 {
				err = fmt.Errorf("want at least 1")
			}
		case name == "compress" && file:
			o.Compress, err = strconv.ParseBool(value)
		case name == "mode" && (value == "blocking" || value == ""):
		default:
			return o, errdefs.Invalid("--log-opt %s: log driver %s has no such option", name, orElse(driver, logJSONFile))
		}
		if err != nil {
			return o, errdefs.Invalid("--log-opt %s=%s: %w", name, value, err)
		}
	}
	if o.MaxFiles > 1 && o.MaxSize == 0 && file {
		return o, errdefs.Invalid("--log-opt max-file=%d needs max-size", o.MaxFiles)
	}
	return o, nil
}

// parseSize reads 10m, 1g, 512k or a number of bytes; -1 is no limit.
func parseSize(text string) (int64, error) {
	if text == "-1" {
		return 0, nil
	}
	number := strings.TrimSuffix(strings.ToLower(text), "b")
	shift := 0
	for i, unit := range []string{"k", "m", "g"} {
		if rest, ok := strings.CutSuffix(number, unit); ok {
			number, shift = rest, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("want a size such as 10m")
	}
	return n << shift, nil
}

// openLog opens the log that a container's options ask for; nil without one.
func openLog(c *record.Container, o LifeOptions) (*record.Log, error) {
	opts, err := parseLogOptions(o.LogDriver, o.LogOpts)
	if err != nil || o.LogDriver == logNone {
		return nil, err
	}
	tag, err := logTag(c.Config, opts.tag)
	if err != nil {
		return nil, err
	}
	attrs := map[string]string{}
	for _, name := range opts.labels {
		if v, ok := c.Config.Labels[name]; ok {
			attrs[name] = v
		}
	}
	for _, name := range opts.env {
		for _, kv := range c.Config.Env {
			if k, v, _ := strings.Cut(kv, "="); k == name {
				attrs[k] = v
			}
		}
	}
	if o.LogDriver == logJournald {
		return openJournal(journalSocket, c.Config, orElse(tag, c.Config.ID[:12]), attrs)
	}
	if tag != "" {
		attrs["tag"] = tag
	}
	if len(attrs) > 0 {
		opts.Attrs = attrs
	}
	return c.OpenLog(opts.LogOptions)
}

// logTag fills in the template of --log-opt tag, which has Docker's names.
func logTag(cfg record.Config, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", errdefs.Invalid("--log-opt tag: %w", err)
	}
	image := strings.TrimPrefix(cfg.ImageID, "sha256:")
	var b strings.Builder
	err = t.Execute(&b, struct{ ID, FullID, Name, ImageID, ImageFullID, ImageName, DaemonName string }{
		cfg.ID[:12], cfg.ID, cfg.Name, image[:min(12, len(image))], cfg.ImageID, cfg.ImageName, "camada",
	})
	if err != nil {
		return "", errdefs.Invalid("--log-opt tag: %w", err)
	}
	return b.String(), nil
}
