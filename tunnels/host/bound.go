package host

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// boundBy names the program that has a UDP port, as in "iperf3 (pid 312)"; empty
// where that cannot be known: other users' descriptors are not for us to see.
func boundBy(port int) string {
	var sockets []string
	for _, table := range []string{"udp", "udp6"} {
		sockets = append(sockets, socketsOn(filepath.Join("/proc/thread-self/net", table), port)...)
	}
	for _, socket := range sockets {
		if pid := holderOf(socket); pid != 0 {
			return fmt.Sprintf("%s (pid %d)", commOf(pid), pid)
		}
	}
	return ""
}

// socketsOn are the sockets of a table in /proc/net that have a local port, as
// links in /proc/PID/fd show them.
func socketsOn(table string, port int) (sockets []string) {
	f, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer f.Close()
	end := fmt.Sprintf(":%04X", port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if part := strings.Fields(lines.Text()); len(part) > 9 && strings.HasSuffix(part[1], end) {
			sockets = append(sockets, "socket:["+part[9]+"]")
		}
	}
	return sockets
}

// holderOf is a process that has a socket open; 0: none that we may look at.
func holderOf(socket string) int {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == socket {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			return pid
		}
	}
	return 0
}
