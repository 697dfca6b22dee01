// Package sshagent answers requests to sign of SSH clients, and nothing else, with keys of files or through
// another agent.
//
//	k, err := sshagent.ParseKey(pem)
//	err = sshagent.Serve(conn, sshagent.Keys{k})
//	err = sshagent.Serve(conn, sshagent.Forward{conn2}) // conn2 leads to an agent
//
// Whoever is on the other side learns which keys there are and gets signatures. It cannot add, remove or
// lock keys, see the private ones, or use extensions. The protocol is that of the internet draft
// draft-ietf-sshm-ssh-agent; its numbers stand there in section 6.1.
//
// It is small on purpose: the library for all of SSH costs more at the start of the program than all else.
package sshagent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/camada/camada/errdefs"
)

// The messages that are known.
const (
	msgFailure      = 5
	msgIdentities   = 11
	msgIdentitiesIs = 12
	msgSign         = 13
	msgSignature    = 14
)

// maxMessage is how long a message may be, in bytes: OpenSSH's limit.
const maxMessage = 256 << 10

// Answerer answers one message, an identities or a sign request. A nil answer is a refusal.
type Answerer interface {
	answer(message []byte) ([]byte, error)
}

// Serve answers the requests that come over conn until it ends. The end of the stream is no error.
func Serve(conn io.ReadWriter, a Answerer) error {
	for {
		msg, err := readMessage(conn)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		var answer []byte
		if msg[0] == msgIdentities || msg[0] == msgSign {
			if answer, err = a.answer(msg); err != nil {
				return err
			}
		}
		if answer == nil {
			answer = []byte{msgFailure}
		}
		if err := writeMessage(conn, answer); err != nil {
			return err
		}
	}
}

// Forward passes requests on to another agent.
type Forward struct{ Agent io.ReadWriter }

func (f Forward) answer(message []byte) ([]byte, error) {
	if err := writeMessage(f.Agent, message); err != nil {
		return nil, err
	}
	return readMessage(f.Agent)
}

// Keys are the keys that sign.
type Keys []*Key

func (k Keys) answer(message []byte) ([]byte, error) {
	if message[0] == msgIdentities {
		out := binary.BigEndian.AppendUint32([]byte{msgIdentitiesIs}, uint32(len(k)))
		for _, key := range k {
			out = appendString(appendString(out, key.public), []byte(key.comment))
		}
		return out, nil
	}
	r := reader{rest: message[1:]}
	public, data, flags := r.str(), r.str(), r.number()
	if r.failed {
		return nil, nil
	}
	for _, key := range k {
		if string(key.public) != string(public) {
			continue
		}
		sig, err := key.sign(data, flags)
		if err != nil {
			return nil, nil //nolint:nilerr // the client is told that it failed, as the protocol has it
		}
		return appendString([]byte{msgSignature}, sig), nil
	}
	return nil, nil
}

// readMessage reads a message, at least one byte.
func readMessage(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n == 0 || n > maxMessage {
		return nil, errdefs.Invalid("a message to an agent has %d bytes", n)
	}
	msg := make([]byte, n)
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil, fmt.Errorf("read a message to an agent: %w", err)
	}
	return msg, nil
}

func writeMessage(w io.Writer, msg []byte) error {
	_, err := w.Write(appendString(nil, msg))
	return err
}

func appendString(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// reader takes values off the front; after a failure it gives empty ones.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) number() uint32 {
	if len(r.rest) < 4 {
		r.failed, r.rest = true, nil
		return 0
	}
	n := binary.BigEndian.Uint32(r.rest)
	r.rest = r.rest[4:]
	return n
}

func (r *reader) str() []byte {
	n := r.number()
	if uint64(n) > uint64(len(r.rest)) {
		r.failed, r.rest = true, nil
		return nil
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}
