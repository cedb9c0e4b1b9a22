package wan

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wire is a Port in memory: in is what Read gives, out what was written.
type wire struct {
	in   chan []byte
	mu   sync.Mutex
	out  [][]byte
	at   []time.Time
	once sync.Once
}

func newWire() *wire { return &wire{in: make(chan []byte, 64)} }

func (w *wire) Read(b []byte) (int, error) {
	frame, ok := <-w.in
	if !ok {
		return 0, io.EOF
	}
	return copy(b, frame), nil
}

func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out, w.at = append(w.out, bytes.Clone(b)), append(w.at, time.Now())
	return len(b), nil
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.in) })
	return nil
}

func (w *wire) got() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.out)
}

func TestLinkDelaysBothWaysInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newWire(), newWire()
		l := join("avocet", near, far, time.Sleep)
		defer l.Close()
		l.Set(Line{Delay: 7 * time.Millisecond})
		start := time.Now()
		for i := range 5 {
			near.in <- []byte{byte(i)}
		}
		far.in <- []byte{99}
		time.Sleep(6 * time.Millisecond)
		synctest.Wait()
		if far.got() != 0 || near.got() != 0 {
			t.Fatal("a frame arrived early")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if far.got() != 5 || near.got() != 1 {
			t.Fatalf("%d and %d frames arrived, want 5 and 1", far.got(), near.got())
		}
		for i, b := range far.out {
			if b[0] != byte(i) || far.at[i].Sub(start) != 7*time.Millisecond {
				t.Errorf("frame %d is %v after %v", i, b, far.at[i].Sub(start))
			}
		}
	})
}

func TestCutTakesFramesOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newWire(), newWire()
		l := join("avocet", near, far, time.Sleep)
		defer l.Close()
		l.Set(Line{Delay: 10 * time.Millisecond})
		near.in <- []byte{1}
		synctest.Wait()
		l.Set(Line{Cut: true})
		near.in <- []byte{2}
		time.Sleep(time.Second)
		synctest.Wait()
		if far.got() != 0 {
			t.Fatal("a frame passed the cut")
		}
		if got := l.Count(Out); got != (Count{Lost: 2}) {
			t.Errorf("count is %+v, want two lost", got)
		}
		l.Set(Line{})
		near.in <- []byte{3}
		synctest.Wait()
		if far.got() != 1 || far.out[0][0] != 3 {
			t.Errorf("after healing %v arrived, want frame 3 only", far.out)
		}
	})
}

func TestWatchSeesWhatLeavesEvenWhenLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newWire(), newWire()
		l := join("avocet", near, far, time.Sleep)
		defer l.Close()
		var mu sync.Mutex
		seen := map[Direction]int{}
		stop := l.Watch(func(f Frame) {
			mu.Lock()
			defer mu.Unlock()
			seen[f.Direction]++
		})
		l.Set(Line{Cut: true})
		near.in <- []byte{1}
		far.in <- []byte{2}
		synctest.Wait()
		l.Set(Line{})
		far.in <- []byte{3}
		synctest.Wait()
		stop()
		near.in <- []byte{4}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if seen[Out] != 1 || seen[In] != 1 {
			t.Errorf("saw %d out and %d in, want 1 and 1", seen[Out], seen[In])
		}
	})
}

func TestParseAndCapture(t *testing.T) {
	frame := udpFrame(51820, append([]byte{4, 0, 0, 0}, make([]byte, 28)...))
	p := Parse(frame)
	if got, want := p.String(), "udp  192.0.2.129:40000 > 192.0.2.10:51820 74 WireGuard keepalive"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	var file bytes.Buffer
	c, err := NewCapture(&file)
	if err != nil {
		t.Fatal(err)
	}
	c.See(Frame{At: began, Direction: Out, Bytes: frame})
	if n, err := c.Frames(); n != 1 || err != nil {
		t.Errorf("wrote %d frames, %v", n, err)
	}
	if want := 24 + 16 + len(frame); file.Len() != want {
		t.Errorf("the file has %d bytes, want %d", file.Len(), want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(udpFrame(53, []byte("question")))
	f.Add([]byte{})
	f.Add(make([]byte, 34))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p := Parse(b); p.String() == "" || p.Length != len(b) {
			t.Errorf("parsed to %+v", p)
		}
	})
}

// udpFrame is a frame from 192.0.2.129:40000 to 192.0.2.10:port.
func udpFrame(port uint16, payload []byte) []byte {
	b := make([]byte, 12)
	b = append(b, 0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0)
	b = append(b, 192, 0, 2, 129, 192, 0, 2, 10)
	b = binary.BigEndian.AppendUint16(b, 40000)
	b = binary.BigEndian.AppendUint16(b, port)
	return append(append(b, make([]byte, 4)...), payload...)
}
