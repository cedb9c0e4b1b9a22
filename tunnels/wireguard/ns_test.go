package wireguard

import (
	"os"
	"testing"

	"github.com/ginnel/ginnel/tunnels/internal/nstest"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

var (
	apart      = nstest.Apart
	program    = nstest.Program
	sh         = nstest.Sh
	eventually = nstest.Eventually
)

func backend() Backend { return Backend(nstest.Backend()) }
