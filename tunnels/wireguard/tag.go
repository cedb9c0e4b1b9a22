package wireguard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/ginnel/ginnel/tunnels/key"
)

// tagPrefix begins the kernel's alias of each link of ours, which ip(8) shows;
// the device's name follows. A link that somebody renames keeps it.
const tagPrefix = "ginnel "

// tagOf is the device that a link is by its tag; empty: it has none.
func tagOf(link netlink.Link) string {
	if backendOf(link) == "" {
		return ""
	}
	return NameIn(link.Attrs().Alias)
}

// NameIn is the device that an alias names; empty: it is no tag of ours.
func NameIn(alias string) string {
	name, ok := strings.CutPrefix(alias, tagPrefix)
	if !ok || !nameOfOurs.MatchString(name) {
		return ""
	}
	return name
}

// NameOf is a link's name, or the device that it is by its tag.
func NameOf(link netlink.Link) string { return cmp.Or(tagOf(link), link.Attrs().Name) }

// deviceOf is the device of ours that a link is; empty: it is none of ours.
// Without a tag a data plane is ours, as only we start one, and so is a link of
// the kernel that nobody has given a key: we were killed while we made it. One
// with a key is ours once Create has adopted it.
func (d *Devices) deviceOf(link netlink.Link) string {
	if name := tagOf(link); name != "" {
		return name
	}
	name := link.Attrs().Name
	if !Ours(name) {
		return ""
	}
	switch backendOf(link) {
	case Userspace:
		if held(name) {
			return name
		}
	case Kernel:
		read, err := d.device(context.Background(), name, Kernel)
		if err == nil && read.PrivateKey == (wgtypes.Key{}) {
			return name
		}
	}
	return ""
}

// tag gives a link its tag.
func (d *Devices) tag(name string) error {
	link, err := d.links.LinkByName(name)
	if err == nil && link.Attrs().Alias != tagPrefix+name {
		err = d.links.LinkSetAlias(link, tagPrefix+name)
	}
	if err != nil {
		return fmt.Errorf("tag %s as ours: %w", name, err)
	}
	return nil
}

// find is the link of a device, also one that somebody renamed; failing that
// the link that has its name, whoever's it is.
func (d *Devices) find(name string) (netlink.Link, error) {
	named, err := d.links.LinkByName(name)
	if err == nil && tagOf(named) == name || err != nil && !isNoLink(err) {
		return named, err
	}
	links, listErr := d.linkList()
	if listErr != nil {
		return nil, listErr
	}
	for _, link := range links {
		if tagOf(link) == name {
			return link, nil
		}
	}
	return named, err
}

// NameBack gives a device its name again that somebody renamed, and its tag.
// Kernels before 6.2 rename no link that is up.
func (d *Devices) NameBack(name string) error {
	link, err := d.find(name)
	switch {
	case isNoLink(err), err == nil && d.deviceOf(link) == "":
		return nil
	case err == nil && link.Attrs().Name == name:
		return d.tag(name)
	}
	if err != nil {
		return fmt.Errorf("look for %s: %w", name, err)
	}
	now := link.Attrs().Name
	err = d.links.LinkSetName(link, name)
	if errors.Is(err, unix.EBUSY) {
		if err = d.links.LinkSetDown(link); err == nil {
			err = d.links.LinkSetName(link, name)
		}
		if err == nil && link.Attrs().Flags&net.FlagUp != 0 {
			err = d.links.LinkSetUp(link)
		}
	}
	if errors.Is(err, unix.EEXIST) {
		return foreign(name, "another link; ours is now called "+now)
	}
	if err != nil {
		return fmt.Errorf("name %s %s again: %w", now, name, err)
	}
	d.log.Warn("a link that somebody renamed has its name again", "device", name, "was", now)
	return nil
}

// Foreign says in words what has a device's name and is not ours; empty: it is
// free, or ours. own is the key that ours would have.
func (d *Devices) Foreign(ctx context.Context, name string, own key.Public) (string, error) {
	link, err := d.links.LinkByName(name)
	if isNoLink(err) || err == nil && d.deviceOf(link) == name {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", name, err)
	}
	switch backendOf(link) {
	case Userspace:
		return "a tun link without a data plane of ours", nil
	case Kernel: // by us, before links had tags, if it has our key or none yet
		read, err := d.device(ctx, name, Kernel)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", name, err)
		}
		if read.PrivateKey == (wgtypes.Key{}) || key.Public(read.PublicKey) == own {
			return "", nil
		}
		return "a WireGuard device with another key", nil
	}
	if link.Type() == "bridge" {
		return "a bridge", nil
	}
	return "a " + link.Type() + " link", nil
}

// PortHolder is the WireGuard link in the kernel, whoever's it is, that has a
// UDP port; empty: none has. A program cannot be named for those.
func (d *Devices) PortHolder(port int) (string, error) {
	links, err := d.linkList()
	if err != nil {
		return "", fmt.Errorf("list links: %w", err)
	}
	for _, link := range links {
		if backendOf(link) != Kernel {
			continue
		}
		name, has := link.Attrs().Name, false
		err := withClient(func(c *wgctrl.Client) error {
			read, err := c.Device(name)
			has = err == nil && read.ListenPort == port
			return err
		})
		if err == nil && has { // else it is gone since
			return name, nil
		}
	}
	return "", nil
}
