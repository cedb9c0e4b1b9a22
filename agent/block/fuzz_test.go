package block

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"
)

// FuzzDecode gives a block's inside, with the right sum added, so that the
// fuzzer gets past it. Plain says that the inside is a head with a body that is
// not deflated, so that it gets past that too.
func FuzzDecode(f *testing.F) {
	text, err := os.ReadFile("testdata/v1.block.hex")
	if err != nil {
		f.Fatal(err)
	}
	packed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed[:len(packed)-4], false)
	b, err := Decode(packed)
	if err != nil {
		f.Fatal(err)
	}
	body, err := b.body()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body, true)
	head := b.head()
	f.Fuzz(func(t *testing.T, inside []byte, plain bool) {
		if plain {
			inside = append(append(bytes.Clone(head), 0), inside...)
		}
		packed := seal(bytes.Clone(inside))
		b, err := Decode(packed)
		n, nameErr := NameOf(packed)
		if err != nil {
			return
		}
		if nameErr != nil || n != b.Name() {
			t.Fatalf("NameOf = %+v, %v; Decode found %+v", n, nameErr, b.Name())
		}
		again, err := Encode(b)
		if err != nil {
			t.Fatalf("packing what was unpacked: %v", err)
		}
		c, err := Decode(again)
		if err != nil {
			t.Fatalf("unpacking that: %v", err)
		}
		if !reflect.DeepEqual(b, c) {
			t.Fatalf("not the same:\n%+v\n%+v", b, c)
		}
	})
}

// TestBombIsRefused: a small body that would unpack to much.
func TestBombIsRefused(t *testing.T) {
	head := (&Block{Gateway: "a", Sequence: 1, Start: earliest, Length: 1}).head()
	bomb := deflate(make([]byte, 4*MaxSize))
	for size, want := range map[uint64]string{MaxSize: "not of the 1048576 bytes", 64 * MaxSize: "at most 1048576 are allowed"} {
		packed := binary.AppendUvarint(append(bytes.Clone(head), 1), size)
		if _, err := Decode(seal(append(packed, bomb...))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a bomb that announces %d bytes: %v", size, err)
		}
	}
}
