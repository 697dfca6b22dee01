package tarball

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// repositoriesFile is the document of archives before Docker 1.10.
const repositoriesFile = "repositories"

// maxLayers is how many layers an image of manifest.json may have.
const maxLayers = 4096

func (l *loader) items(ctx context.Context, e entry) ([]item, error) {
	data, err := l.document(ctx, e, maxDocument)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", manifestFile, err)
	}
	var items []item
	if err := json.Unmarshal(data, &items); err != nil {
		return nil, errdefs.Corrupt("%s: %w", manifestFile, err)
	}
	return items, nil
}

// docker returns the images of a Docker archive.
func (l *loader) docker(ctx context.Context, e entry) ([]Loaded, error) {
	items, err := l.items(ctx, e)
	if err != nil {
		return nil, err
	}
	var all []Loaded
	at := map[digest.Digest]int{}
	known := map[string]ocispec.Descriptor{}
	for i, it := range items {
		desc, err := l.dockerImage(ctx, it, known)
		if err != nil {
			return nil, fmt.Errorf("%s: image %d: %w", manifestFile, i, err)
		}
		n, ok := at[desc.Digest]
		if !ok {
			n = len(all)
			at[desc.Digest] = n
			all = append(all, Loaded{Descriptor: desc})
		}
		for _, tag := range it.RepoTags {
			if err := all[n].addName(tag); err != nil {
				return nil, fmt.Errorf("%s: image %d: %w", manifestFile, i, err)
			}
		}
	}
	if len(all) == 0 {
		return nil, errdefs.Invalid("it has no images: %s is empty", manifestFile)
	}
	return all, nil
}

// nameFromItems gives images of a layout that have no name there the
// names that manifest.json gives to their configs.
func (l *loader) nameFromItems(ctx context.Context, e entry, loaded []Loaded) error {
	items, err := l.items(ctx, e)
	if err != nil {
		return err
	}
	tags := map[digest.Digest][]string{}
	for _, it := range items {
		if _, config, err := l.get(it.Config); err == nil && config.desc.Digest != "" {
			tags[config.desc.Digest] = append(tags[config.desc.Digest], it.RepoTags...)
		}
	}
	for i := range loaded {
		if len(loaded[i].Names) > 0 || len(tags) == 0 {
			continue
		}
		img, err := image.Open(ctx, l.dst, loaded[i].Descriptor, ocispec.Platform{})
		if errdefs.IsUnsupported(err) || errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		for _, tag := range tags[img.ID()] {
			if err := loaded[i].addName(tag); err != nil {
				return fmt.Errorf("%s: %w", manifestFile, err)
			}
		}
	}
	return nil
}

// dockerImage writes the manifest for an image of manifest.json. The config's
// bytes stay as they are, and so does the image ID.
func (l *loader) dockerImage(ctx context.Context, it item, known map[string]ocispec.Descriptor) (ocispec.Descriptor, error) {
	config, cfg, err := l.dockerConfig(ctx, it.Config)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if len(it.Layers) > maxLayers {
		return ocispec.Descriptor{}, errdefs.Limit("%d layers, more than %d", len(it.Layers), maxLayers)
	}
	if len(it.Layers) != len(cfg.RootFS.DiffIDs) {
		return ocispec.Descriptor{}, errdefs.Corrupt("it has %d layers, and its config %.300q has %d diff_ids", len(it.Layers), it.Config, len(cfg.RootFS.DiffIDs))
	}
	layers := make([]ocispec.Descriptor, 0, len(it.Layers))
	for i, name := range it.Layers {
		d, err := l.dockerLayer(ctx, name, cfg.RootFS.DiffIDs[i], known)
		if err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("layer %.300q: %w", name, err)
		}
		layers = append(layers, d)
		l.whole[d.Digest] = true
	}
	desc, err := image.WriteManifest(ctx, l.ing, config, layers, nil)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	l.whole[config.Digest], l.whole[desc.Digest] = true, true
	if cfg.OS != "" && cfg.Architecture != "" {
		p := cfg.Platform
		desc.Platform = &p
	}
	return desc, nil
}

// dockerConfig stores and parses a config.
func (l *loader) dockerConfig(ctx context.Context, name string) (ocispec.Descriptor, image.Config, error) {
	_, e, err := l.get(name)
	if err != nil {
		return ocispec.Descriptor{}, image.Config{}, fmt.Errorf("config: %w", err)
	}
	data, err := l.document(ctx, e, image.MaxConfig)
	if err != nil {
		return ocispec.Descriptor{}, image.Config{}, fmt.Errorf("config %.300q: %w", name, err)
	}
	cfg, err := image.ParseConfig(data)
	if err != nil {
		return ocispec.Descriptor{}, image.Config{}, fmt.Errorf("config %.300q: %w", name, err)
	}
	desc, err := content.WriteBlob(ctx, l.ing, data)
	if err != nil {
		return ocispec.Descriptor{}, image.Config{}, fmt.Errorf("store config: %w", err)
	}
	// Where the name is a digest, as Docker, Podman and crane write it, it has to be right.
	hex := strings.TrimPrefix(strings.TrimSuffix(path.Base(name), ".json"), "sha256:")
	if named := digest.Digest("sha256:" + hex); content.CheckDigest(named) == nil && named != desc.Digest {
		return ocispec.Descriptor{}, image.Config{}, errdefs.Corrupt("config %.300q: the bytes have the digest %s", name, desc.Digest)
	}
	desc.MediaType = ocispec.MediaTypeImageConfig
	return desc, cfg, nil
}

// dockerLayer returns the descriptor of a stored layer whose diffID was checked.
// known has the layers that were checked, by entry and diffID.
func (l *loader) dockerLayer(ctx context.Context, name string, diffID digest.Digest, known map[string]ocispec.Descriptor) (ocispec.Descriptor, error) {
	at, e, err := l.get(name)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	key := at + "\x00" + diffID.String()
	if d, ok := known[key]; ok {
		return d, nil
	}
	if e.desc.Digest == "" {
		if e.desc, err = content.WriteBlob(ctx, l.ing, e.data); err != nil {
			return ocispec.Descriptor{}, err
		}
		l.entries[at] = entry{desc: e.desc}
	}
	d, err := l.checkLayer(ctx, e.desc, diffID)
	if err == nil {
		known[key] = d
	}
	return d, err
}

// checkLayer checks the diffID of a stored layer and tells its media type. A
// layer in a compression that OCI does not know is stored again, decompressed.
func (l *loader) checkLayer(ctx context.Context, desc ocispec.Descriptor, diffID digest.Digest) (ocispec.Descriptor, error) {
	blob, err := l.dst.Open(ctx, desc)
	if err != nil {
		return desc, err
	}
	defer blob.Close()
	head := make([]byte, compression.DetectLen)
	n, err := blob.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return desc, err
	}
	alg := compression.Detect(head[:n])
	if alg == compression.None && diffID.Algorithm() == desc.Digest.Algorithm() {
		desc.MediaType = ocispec.MediaTypeImageLayer
		if desc.Digest != diffID {
			return desc, errdefs.Corrupt("its diffID is %s, and the config says %s", desc.Digest, diffID)
		}
		return desc, nil
	}
	r, err := compression.NewReader(whileAlive(ctx, blob), compression.Limits{MaxBytes: l.opts.MaxBytes})
	if err != nil {
		return desc, err
	}
	defer r.Close()
	mediaType := compression.MediaType(alg)
	if mediaType == "" {
		mediaType = ocispec.MediaTypeImageLayer
		return content.WriteReader(ctx, l.ing, r, ocispec.Descriptor{MediaType: mediaType, Digest: diffID, Size: -1})
	}
	v, err := content.NewVerifyReader(r, ocispec.Descriptor{Digest: diffID, Size: -1})
	if err != nil {
		return desc, err
	}
	if _, err := io.Copy(io.Discard, v); err != nil {
		return desc, fmt.Errorf("check the diffID: %w", err)
	}
	desc.MediaType = mediaType
	return desc, nil
}
