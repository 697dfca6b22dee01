package remote

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// Catalog lists the repositories of a registry, in its order; at most limit, 0 is 100,000. It is docker's way (_catalog), which the OCI
// specification does not have and big registries do not offer.
func (r *Repository) Catalog(ctx context.Context, limit int) ([]string, error) {
	if limit <= 0 {
		limit = 100_000
	}
	var all []string
	err := r.listing(ctx, "_catalog", "list repositories", "registry:catalog:*", func(data []byte) (int, error) {
		var page struct {
			Repositories []string `json:"repositories"`
		}
		if err := json.Unmarshal(data, &page); err != nil {
			return 0, errdefs.Corrupt("parse: %w", err)
		}
		if all = append(all, page.Repositories...); len(all) > limit {
			return 0, errdefs.Limit("more than %d repositories", limit)
		}
		return 0, nil
	})
	return all, err
}

// Delete removes a tag, or a manifest by its digest ("Deleting tags", "Deleting Manifests"), which then is no referrer any more, also in registries that
// do not know of them. ErrUnsupported when the registry does not remove such things.
func (r *Repository) Delete(ctx context.Context, tagOrDigest string) error {
	var subject digest.Digest
	if digest.Digest(tagOrDigest).Validate() == nil {
		// What cannot be read has no subject that we know of; the registry says what is wrong with it.
		if _, data, err := r.direct().Manifest(ctx, tagOrDigest); err == nil {
			subject = subjectOf(data)
		}
	}
	res, err := r.host.do(ctx, call{
		method: http.MethodDelete, path: r.name + "/manifests/" + tagOrDigest, what: "remove " + r.called(tagOrDigest),
		scopes: []string{r.scope("pull,push,delete")}, want: []int{http.StatusAccepted, http.StatusOK, http.StatusNoContent},
	})
	if err != nil {
		return err
	}
	res.Body.Close()
	if subject == "" {
		return nil
	}
	return r.direct().dropReferrer(ctx, subject, digest.Digest(tagOrDigest))
}
