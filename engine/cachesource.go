package engine

// cacheSource is a source of build cache.
type cacheSource struct{}
