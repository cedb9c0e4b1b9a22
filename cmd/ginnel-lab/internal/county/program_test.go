package county

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Who waits for something slow leaves it half of the time.
func TestPollRests(t *testing.T) {
	for _, c := range []struct {
		takes time.Duration
		asked int // within 9.95 s
	}{{0, 50}, {100 * time.Millisecond, 34}, {time.Second, 5}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 9950*time.Millisecond)
			defer cancel()
			asked := 0
			if _, err := poll(ctx, 200*time.Millisecond, func() (bool, error) {
				time.Sleep(c.takes)
				asked++
				return false, nil
			}); err == nil {
				t.Error("it ended well")
			}
			if asked != c.asked {
				t.Errorf("what takes %v was asked %d times, want %d", c.takes, asked, c.asked)
			}
		})
	}
}
