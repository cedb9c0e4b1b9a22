package wan

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// Capture writes frames as a pcap file with nanoseconds, which tcpdump and
// Wireshark read.
type Capture struct {
	mu     sync.Mutex
	w      io.Writer
	frames int
	err    error
}

// NewCapture writes the file's header to w.
func NewCapture(w io.Writer) (*Capture, error) {
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d) // nanoseconds
	head = binary.LittleEndian.AppendUint16(head, 2)          // version 2.4
	head = binary.LittleEndian.AppendUint16(head, 4)
	head = append(head, make([]byte, 8)...)                // UTC, accuracy not stated
	head = binary.LittleEndian.AppendUint32(head, longest) // longest record
	head = binary.LittleEndian.AppendUint32(head, 1)       // Ethernet
	if _, err := w.Write(head); err != nil {
		return nil, fmt.Errorf("writing the capture: %w", err)
	}
	return &Capture{w: w}, nil
}

// See writes one frame. It is made for Link.Watch.
func (c *Capture) See(f Frame) {
	rec := binary.LittleEndian.AppendUint32(nil, uint32(f.At.Unix()))
	rec = binary.LittleEndian.AppendUint32(rec, uint32(f.At.Nanosecond()))
	rec = binary.LittleEndian.AppendUint32(rec, uint32(len(f.Bytes)))
	rec = binary.LittleEndian.AppendUint32(rec, uint32(len(f.Bytes)))
	rec = append(rec, f.Bytes...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if _, c.err = c.w.Write(rec); c.err == nil {
		c.frames++
	}
}

// Frames is how many were written, and the error that ended the writing.
func (c *Capture) Frames() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frames, c.err
}
