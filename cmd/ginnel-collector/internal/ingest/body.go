package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// readBlocks reads a whole body. One bad block spoils it all, so that a
// gateway learns of it at once and which one it is.
func readBlocks(body io.Reader, gateway string) ([]store.Packed, *refusal) {
	raw, err := io.ReadAll(body)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &refusal{status: http.StatusRequestEntityTooLarge, Error: fmt.Sprintf("body is longer than %d bytes; send fewer blocks at once", MaxBody)}
	}
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, Error: "body ended early: " + err.Error()}
	}
	var blocks []store.Packed
	for i := 0; len(raw) > 0; i++ {
		n, used := binary.Uvarint(raw)
		if used <= 0 || n > uint64(len(raw)-used) {
			return nil, &refusal{status: http.StatusBadRequest, Block: &i, Error: fmt.Sprintf("block %d is cut short", i)}
		}
		p, b, err := store.Unpack(raw[used : used+int(n)])
		if err != nil {
			return nil, &refusal{status: http.StatusBadRequest, Block: &i, Error: fmt.Sprintf("block %d is corrupt: %v", i, err)}
		}
		if b.Gateway != gateway {
			return nil, &refusal{status: http.StatusForbidden, Block: &i, Error: fmt.Sprintf("block %d is of %q, the certificate of %q", i, b.Gateway, gateway)}
		}
		blocks = append(blocks, p)
		raw = raw[used+int(n):]
	}
	return blocks, nil
}

// parseOldest reads the header Oldest; nil: it is not there.
func parseOldest(header string) (*store.Watermark, error) {
	if header == "" {
		return nil, nil
	}
	epoch, sequence, _ := strings.Cut(header, "/")
	e, err1 := strconv.ParseUint(epoch, 10, 64)
	s, err2 := strconv.ParseUint(sequence, 10, 63)
	if err := errors.Join(err1, err2); err != nil || s < 1 {
		return nil, fmt.Errorf("%s is %q, which is not EPOCH/SEQUENCE", Oldest, header)
	}
	return &store.Watermark{Epoch: e, Sequence: s}, nil
}
