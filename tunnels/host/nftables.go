package host

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// ErrNoNftables is of a kernel without nf_tables: what keeps networks apart
// cannot be had, and so none is started.
var ErrNoNftables = errors.New("the kernel has no nftables, which keep networks apart")

// Nftables is ErrNoNftables, with what to do about it, where there are none.
func (h *Host) Nftables() error {
	_, err := again(func() ([]*nftables.Table, error) { return h.nft.ListTablesOfFamily(nftables.TableFamilyINet) })
	if noNftables(err) {
		return withoutNftables(err)
	}
	return nil // or it is told when it is tried
}

// noNftables is true of what a kernel without nf_tables answers: without
// nfnetlink there is no such protocol; with it, questions are invalid and
// transactions are not supported. One without the inet family says so as well. As
// a kernel that has them answers the same to what it does not understand, it is
// asked for what can be asked in one way only.
func noNftables(err error) bool {
	return (unsupported(err) || errors.Is(err, unix.EINVAL)) && unsupported(removeNothing())
}

func unsupported(err error) bool {
	for _, no := range []error{unix.EPROTONOSUPPORT, unix.EOPNOTSUPP, unix.EAFNOSUPPORT} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// removeNothing removes a table that nobody has: its name is none that one can
// type. It is a transaction of one message, for a kernel without nf_tables answers a
// whole transaction once, and the library waits for an answer to each message.
func removeNothing() error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	nft.DelTable(&nftables.Table{Name: "\x01ginnel\x01", Family: nftables.TableFamilyINet})
	return nft.Flush()
}

func withoutNftables(err error) error {
	return wireguard.Hinted("modprobe nf_tables; a kernel of one's own needs CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET",
		fmt.Errorf("%w (%w)", ErrNoNftables, err))
}

// tellFilters logs when somebody else has changed a table of ours, once: a fight
// over it is told as such.
func (h *Host) tellFilters(found []tunnels.Filter) {
	h.evidence.mu.Lock()
	defer h.evidence.mu.Unlock()
	for _, f := range found {
		if last, told := h.evidence.spoilt[f.Table]; f.Digest == "" && (!told || time.Since(last) > fresh) {
			h.log.Warn("somebody else changed our nftables table; it is made anew",
				"table", f.Table, "culprit", h.evidence.seen[filterObject(f.Table)].who)
			if h.evidence.spoilt == nil {
				h.evidence.spoilt = map[string]time.Time{}
			}
			h.evidence.spoilt[f.Table] = time.Now()
		}
	}
}
