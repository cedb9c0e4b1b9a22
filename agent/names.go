package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"github.com/ginnel/ginnel/agent/internal/durable"
)

// Names keeps the addresses of endpoint names in a file, as a tunnels.Cache.
type Names struct{ File string }

// Load reads them; there are none before the first Save.
func (n Names) Load() (map[string][]netip.Addr, error) {
	text, err := os.ReadFile(n.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var known map[string][]netip.Addr
	if err := json.Unmarshal(text, &known); err != nil {
		return nil, fmt.Errorf("read %s: %w", n.File, err)
	}
	return known, nil
}

// Save replaces them.
func (n Names) Save(known map[string][]netip.Addr) error {
	text, err := json.Marshal(known)
	if err != nil {
		return err
	}
	return durable.WriteFile(n.File, text, 0o640)
}
