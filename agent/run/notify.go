package run

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// Notify tells the service manager a state, such as "READY=1", by the protocol
// of sd_notify(3). Without NOTIFY_SOCKET in the environment it does nothing.
func Notify(state string) error {
	addr := os.Getenv("NOTIFY_SOCKET")
	if addr == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// Alive tells the service manager until ctx ends that this process runs, three times
// in the span of its WatchdogSec (sd_watchdog_enabled(3)). Without one it does nothing.
func Alive(ctx context.Context) {
	us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := os.Getenv("WATCHDOG_PID"); err != nil || us <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return
	}
	tick := time.NewTicker(max(time.Duration(us)*time.Microsecond/3, time.Millisecond))
	defer tick.Stop()
	for {
		_ = Notify("WATCHDOG=1") // one that is not heard is missed there
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
