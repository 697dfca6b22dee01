package build

import (
	"strconv"
	"time"

	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/errdefs"
)

// epochArg is the build argument, and the variable that RUN steps get.
const epochArg = "SOURCE_DATE_EPOCH"

// epochOf is the time of the build: what the caller says, what the build argument
// says, when the base image was created, or 1970. Seconds, in UTC.
func epochOf(opts Options, g *graph.Graph) (time.Time, error) {
	switch arg, ok := opts.BuildArgs[epochArg]; {
	case opts.SourceDateEpoch != nil:
		return opts.SourceDateEpoch.UTC().Truncate(time.Second), nil
	case ok && arg != "":
		s, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || s < 0 {
			return time.Time{}, errdefs.Invalid("%s=%s: want seconds since 1970", epochArg, arg)
		}
		return time.Unix(s, 0).UTC(), nil
	case g.Base != nil && g.Base.Image.Created != nil && g.Base.Image.Created.Unix() > 0:
		return g.Base.Image.Created.UTC().Truncate(time.Second), nil
	}
	return time.Unix(0, 0).UTC(), nil
}
