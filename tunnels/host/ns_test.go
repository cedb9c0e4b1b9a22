package host

import (
	"os"
	"testing"

	"github.com/ginnel/ginnel/tunnels/internal/nstest"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

var (
	apart      = nstest.Apart
	program    = nstest.Program
	sh         = nstest.Sh
	eventually = nstest.Eventually
)

func backend() wireguard.Backend { return wireguard.Backend(nstest.Backend()) }
