package reach

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Place is where a check goes: a host, which may be a name, and a port.
type Place struct {
	Host string
	Port uint16
}

func (p Place) String() string { return net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))) }

// ParsePlace reads "host:port". A port of 0 in usual means that one must be
// given; another one is for a host that stands alone.
func ParsePlace(address string, usual uint16) (Place, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		if bare := TrimBrackets(address); usual != 0 && IsHost(bare) {
			return Place{bare, usual}, nil
		}
		return Place{}, fmt.Errorf("target %q is not host:port", address)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Place{}, fmt.Errorf("target %q: port %q is not in 1 to 65535", address, port)
	}
	if !IsHost(host) {
		return Place{}, fmt.Errorf("target %q: %q is neither a name nor an address", address, host)
	}
	return Place{host, uint16(n)}, nil
}

// TrimBrackets takes those of "[2001:db8::1]" away.
func TrimBrackets(s string) string {
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		return s[1 : len(s)-1]
	}
	return s
}

// IsHost says whether s is an address, or may be a name.
func IsHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for _, c := range []byte(s) {
		ok := c == '.' || c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !ok {
			return false
		}
	}
	return true
}
