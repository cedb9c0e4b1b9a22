package store

import (
	"fmt"
	"math"

	"github.com/ginnel/ginnel/agent/block"
)

// Unpack reads a packed block, whole, and what the store must know of it.
func Unpack(raw []byte) (Packed, *block.Block, error) {
	b, err := block.Decode(raw)
	if err != nil {
		return Packed{}, nil, err
	}
	p := Packed{Epoch: b.Epoch, First: b.Low(), Sequence: b.Sequence,
		Start: b.Start, End: b.End(), Bytes: raw}
	return p, b, p.Valid()
}

// Valid says what is wrong with p's name or times.
func (p Packed) Valid() error {
	switch {
	case p.First < 1 || p.First > p.Sequence || p.Sequence > math.MaxInt64:
		return fmt.Errorf("block stands for %d to %d, which is no range from 1", p.First, p.Sequence)
	case !p.Start.Before(p.End):
		return fmt.Errorf("block %d covers no time", p.Sequence)
	}
	return nil
}
