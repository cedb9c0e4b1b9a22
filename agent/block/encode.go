package block

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"
	"time"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode packs b.
func Encode(b *Block) ([]byte, error) {
	body, err := b.body()
	if err != nil {
		return nil, fmt.Errorf("packing block %d: %w", b.Sequence, err)
	}
	packed := b.head()
	if small := deflate(body); len(small) < len(body) {
		packed = append(packed, 1)
		packed = binary.AppendUvarint(packed, uint64(len(body)))
		packed = append(packed, small...)
	} else {
		packed = append(packed, 0)
		packed = append(packed, body...)
	}
	if len(packed)+4 > MaxSize {
		return nil, fmt.Errorf("packing block %d: %d bytes, at most %d are allowed", b.Sequence, len(packed)+4, MaxSize)
	}
	return seal(packed), nil
}

func seal(packed []byte) []byte {
	return binary.LittleEndian.AppendUint32(packed, crc32.Checksum(packed, castagnoli))
}

// head is the part that NameOf reads.
func (b *Block) head() []byte {
	w := writer{b: append([]byte(magic), version)}
	w.string(b.Gateway)
	w.b = binary.LittleEndian.AppendUint64(w.b, b.Epoch)
	w.number(b.Sequence)
	w.number(b.Sequence - b.Low())
	w.b = binary.AppendVarint(w.b, b.Start.UnixNano())
	w.number(uint64(b.Length))
	return w.b
}

func (b *Block) body() ([]byte, error) {
	if err := b.Name().check(); err != nil {
		return nil, err
	}
	if len(b.Subjects) > MaxSubjects {
		return nil, fmt.Errorf("%d subjects, at most %d are allowed", len(b.Subjects), MaxSubjects)
	}
	w := writer{start: b.Start.Round(0).UTC()}
	w.string(b.Boot)
	w.dictionary(b)
	w.number(uint64(len(b.Subjects)))
	for i := range b.Subjects {
		w.subject(&b.Subjects[i])
	}
	w.number(uint64(len(b.Edges)))
	for _, e := range b.Edges {
		w.time(e.At)
		w.class(e.Class)
		w.word(e.Name)
		w.state(e.From, 0)
		w.state(e.To, 0)
		w.cause(e.Cause())
	}
	w.number(uint64(len(b.Gaps)))
	for _, g := range b.Gaps {
		w.time(g.From)
		w.time(g.To)
		w.word(g.Reason)
	}
	if w.err == nil && len(w.b) > MaxSize {
		w.fail(fmt.Errorf("%d bytes, at most %d are allowed", len(w.b), MaxSize))
	}
	return w.b, w.err
}

// CheckEdge says why an edge could not be packed; nil: it can.
func CheckEdge(e Edge) error { return check(&Block{Edges: []Edge{e}}) }

// CheckSubject says why a subject could not be packed; nil: it can.
func CheckSubject(s Subject) error { return check(&Block{Subjects: []Subject{s}}) }

func check(b *Block) error {
	b.Gateway, b.Sequence, b.Length, b.Start = "-", 1, 1, time.Unix(0, 0)
	_, err := b.body()
	return err
}

// dictionary writes each text once, in order of first use.
func (w *writer) dictionary(b *Block) {
	var list []string
	w.words = map[string]int{"": 0}
	add := func(words ...string) {
		for _, s := range words {
			if _, there := w.words[s]; !there {
				list = append(list, s)
				w.words[s] = len(list)
			}
		}
	}
	cause := func(c Cause) { add(string(c.Reason), c.Code, c.Text, c.Owner) }
	for _, s := range b.Subjects {
		add(s.Name, s.Network, s.Target, s.StandsFor)
		cause(s.Cause)
	}
	for _, e := range b.Edges {
		add(e.Name)
		cause(e.Cause())
	}
	for _, g := range b.Gaps {
		add(g.Reason)
	}
	w.number(uint64(len(list)))
	for _, s := range list {
		w.string(s)
	}
}

func (w *writer) subject(s *Subject) {
	w.class(s.Class)
	w.word(s.Name)
	w.word(s.Network)
	w.word(s.Target)
	w.word(s.StandsFor)
	if s.Cause == (Cause{}) {
		w.state(s.State, 0)
		w.time(s.Since)
	} else {
		w.state(s.State, withCause)
		w.time(s.Since)
		w.cause(s.Cause)
	}
	for _, n := range []uint32{s.OK, s.Degraded, s.Failed, s.Unknown} {
		w.number(uint64(n))
	}
	w.number(s.Sent)
	w.number(s.Received)
	if s.RTT == nil {
		w.number(0)
		return
	}
	h, err := s.RTT.AppendBinary(nil)
	if err != nil {
		w.fail(fmt.Errorf("%s: %w", s.Name, err))
	}
	w.number(uint64(len(h)) + 1)
	w.b = append(w.b, h...)
}

var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

func deflate(body []byte) []byte {
	var b bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&b)
	// a bytes.Buffer takes everything
	_, _ = w.Write(body)
	_ = w.Close()
	return b.Bytes()
}
