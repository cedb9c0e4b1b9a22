package block

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"time"

	"github.com/ginnel/ginnel/checks/hist"
)

// Name is what a packed block says about itself.
type Name struct {
	Gateway         string
	Epoch           uint64
	First, Sequence uint64 // equal unless thinned
	Start           time.Time
	Length          time.Duration // above 0
}

// End is where the covered time ends.
func (n Name) End() time.Time { return n.Start.Add(n.Length) }

// Name is what b says about itself.
func (b *Block) Name() Name {
	return Name{b.Gateway, b.Epoch, b.Low(), b.Sequence, b.Start, b.Length}
}

func (n Name) check() error {
	switch {
	case n.Gateway == "":
		return errors.New("gateway has no name")
	case n.First < 1 || n.First > n.Sequence || n.Sequence > math.MaxInt64:
		return fmt.Errorf("it stands for %d to %d, which is no range from 1", n.First, n.Sequence)
	case n.Length <= 0:
		return fmt.Errorf("length %v is not above 0", n.Length)
	case !inRange(n.Start) || !inRange(n.End()):
		return fmt.Errorf("start %v or length %v is out of range", n.Start, n.Length)
	}
	return nil
}

// NameOf reads a packed block's name. It checks the sum at the end, and leaves
// the rest unread.
func NameOf(packed []byte) (Name, error) {
	n, _, err := open(packed)
	if err != nil {
		return Name{}, fmt.Errorf("reading block: %w", err)
	}
	return n, nil
}

// open checks the outside of a block and returns its name and the packed body.
func open(packed []byte) (Name, []byte, error) {
	var n Name
	switch {
	case len(packed) > MaxSize:
		return n, nil, fmt.Errorf("%d bytes, at most %d are allowed", len(packed), MaxSize)
	case len(packed) < len(magic)+1+4 || string(packed[:len(magic)]) != magic:
		return n, nil, errors.New("it is no block")
	case packed[len(magic)] != version:
		return n, nil, fmt.Errorf("it is of version %d, only %d is known here", packed[len(magic)], version)
	}
	inside, sum := packed[:len(packed)-4], binary.LittleEndian.Uint32(packed[len(packed)-4:])
	if crc32.Checksum(inside, castagnoli) != sum {
		return n, nil, errors.New("its checksum is wrong")
	}
	r := reader{b: inside[len(magic)+1:]}
	n.Gateway = r.string()
	if b := r.bytes(8); b != nil {
		n.Epoch = binary.LittleEndian.Uint64(b)
	}
	n.Sequence = r.number()
	n.First = n.Sequence - min(r.number(), n.Sequence)
	start, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail(errShort)
	} else {
		r.bytes(uint64(size))
	}
	n.Start = time.Unix(0, start).UTC()
	n.Length = time.Duration(min(r.number(), math.MaxInt64))
	if r.err == nil {
		r.err = n.check()
	}
	return n, r.b, r.err
}

// Decode unpacks a block. It refuses whatever Encode would not write, except
// that it does not ask for the shortest form.
func Decode(packed []byte) (*Block, error) {
	n, body, err := open(packed)
	if err == nil {
		body, err = inflate(body)
	}
	if err != nil {
		return nil, fmt.Errorf("unpacking block: %w", err)
	}
	b := &Block{Gateway: n.Gateway, Epoch: n.Epoch, First: n.First, Sequence: n.Sequence, Start: n.Start, Length: n.Length}
	r := reader{b: body, start: n.Start}
	r.body(b)
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes too many", len(r.b))
	}
	if r.err != nil {
		return nil, fmt.Errorf("unpacking block %d of %s: %w", n.Sequence, n.Gateway, r.err)
	}
	return b, nil
}

// inflate gives the body, which the first byte says is deflated or not.
func inflate(packed []byte) ([]byte, error) {
	r := reader{b: packed}
	switch kind := r.byte(); {
	case r.err != nil:
		return nil, r.err
	case kind == 0:
		return r.b, nil
	case kind != 1:
		return nil, fmt.Errorf("packing %d is not known", kind)
	}
	size := r.number()
	if size > MaxSize {
		return nil, fmt.Errorf("body of %d bytes, at most %d are allowed", size, MaxSize)
	}
	if r.err != nil {
		return nil, r.err
	}
	in := bytes.NewReader(r.b)
	body, err := io.ReadAll(io.LimitReader(flate.NewReader(in), int64(size)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("body: %w", err)
	case uint64(len(body)) != size || in.Len() > 0:
		return nil, fmt.Errorf("body is not of the %d bytes that it announces", size)
	}
	return body, nil
}

func (r *reader) body(b *Block) {
	b.Boot = r.string()
	for range r.count(1) {
		r.words = append(r.words, r.string())
	}
	subjects := r.count(13)
	if subjects > MaxSubjects {
		r.fail(fmt.Errorf("%d subjects, at most %d are allowed", subjects, MaxSubjects))
	}
	for i := 0; i < subjects && r.err == nil; i++ {
		b.Subjects = append(b.Subjects, r.subject())
	}
	edges := r.count(9)
	for i := 0; i < edges && r.err == nil; i++ {
		b.Edges = append(b.Edges, r.edge())
	}
	gaps := r.count(3)
	for i := 0; i < gaps && r.err == nil; i++ {
		b.Gaps = append(b.Gaps, Gap{From: r.time(), To: r.time(), Reason: r.word()})
	}
}

func (r *reader) subject() Subject {
	s := Subject{Class: r.class(), Name: r.word(), Network: r.word(), Target: r.word(), StandsFor: r.word()}
	var caused bool
	s.State, caused = r.state()
	s.Since = r.time()
	if caused {
		s.Cause = r.cause()
	}
	s.OK, s.Degraded, s.Failed, s.Unknown = r.small(), r.small(), r.small(), r.small()
	s.Sent, s.Received = r.number(), r.number()
	size := r.number()
	if size == 0 || r.err != nil {
		return s
	}
	s.RTT = new(hist.Histogram)
	if err := s.RTT.UnmarshalBinary(r.bytes(size - 1)); err != nil {
		r.fail(err)
	}
	return s
}

func (r *reader) edge() Edge {
	e := Edge{At: r.time(), Class: r.class(), Name: r.word()}
	var flagged, flaggedTo bool
	e.From, flagged = r.state()
	e.To, flaggedTo = r.state()
	if flagged || flaggedTo {
		r.fail(errors.New("edge with an unknown flag"))
	}
	c := r.cause()
	e.Reason, e.Code, e.Text, e.Owner = c.Reason, c.Code, c.Text, c.Owner
	return e
}
