package layer

import (
	"bufio"
	"io"
	"sync"

	"github.com/camada/camada/archive/compression"
)

// Pool keeps the buffers of layers that were written, for the next ones. A build writes many small layers, and fresh memory for each costs
// more than what is done in it. The zero value is ready. Many goroutines may use one Pool.
type Pool struct {
	compressors compression.Pool

	mu      sync.Mutex
	buffers []*buffer
	writers []*bufio.Writer
}

// What a Pool keeps is as much as two layers at once need.
const (
	keptBuffers = 2 * bufferCount
	keptWriters = 2
)

func (p *Pool) buffer() *buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.buffers) - 1; last >= 0 {
		b := p.buffers[last]
		p.buffers = p.buffers[:last]
		return b
	}
	return &buffer{b: make([]byte, 0, bufferSize)}
}

// keep takes back the buffers of a fan whose writers have ended.
func (p *Pool) keep(free <-chan *buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(free) > 0 && len(p.buffers) < keptBuffers {
		p.buffers = append(p.buffers, <-free)
	}
}

// writer makes the many small writes of a compressor few for w.
func (p *Pool) writer(w io.Writer) *bufio.Writer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.writers) - 1; last >= 0 {
		b := p.writers[last]
		p.writers = p.writers[:last]
		b.Reset(w)
		return b
	}
	return bufio.NewWriterSize(w, bufferSize)
}

func (p *Pool) keepWriter(b *bufio.Writer) {
	b.Reset(nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.writers) < keptWriters {
		p.writers = append(p.writers, b)
	}
}
