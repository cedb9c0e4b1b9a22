// Package tornfs is a file system in memory whose power can be cut, for the tests
// of what must outlive that. It keeps the rules of ext4: what was not synced may
// be lost, in part, and torn; a sync of anything commits the names that were made
// and moved before it, in their order.
//
// It is mounted by FUSE, so that the code under test sees nothing of it; as root,
// or in a user namespace. It is for tests only.
package tornfs

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Sizes in bytes of what reaches a disk as a whole: a page of the cache, and a
// sector where one is torn.
const (
	page   = 4096
	sector = 512
)

// Disk is what a mount stands on.
type Disk struct {
	mu      sync.Mutex
	root    *file
	pending []func() // changes of names that no sync has committed
	writes  int      // and syncs, and changes of names: moments to cut at
	cutAt   int      // of writes; 0: never
	dead    bool
	last    uint64 // of the inode numbers
}

// file is a file or a folder.
type file struct {
	number       uint64
	mode         uint32
	data, synced []byte
	names, kept  map[string]*file // of a folder; kept are those that were committed
}

func (d *Disk) newFile(mode uint32) *file {
	d.last++
	f := &file{number: d.last, mode: mode}
	if mode&syscall.S_IFDIR != 0 {
		f.names, f.kept = map[string]*file{}, map[string]*file{}
	}
	return f
}

// Mount mounts an empty disk at dir until stop is called.
func Mount(dir string) (d *Disk, stop func() error, err error) {
	d = &Disk{}
	d.root = d.newFile(syscall.S_IFDIR | 0o755)
	zero := fs.Options{MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "torn"},
		RootStableAttr: &fs.StableAttr{Mode: syscall.S_IFDIR, Ino: d.root.number}}
	server, err := fs.Mount(dir, &node{disk: d, file: d.root}, &zero)
	if err != nil {
		return nil, nil, err
	}
	return d, server.Unmount, nil
}

// Writes is how many moments there were so far at which power can be cut.
func (d *Disk) Writes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes
}

// CutAfter cuts the power after so many more of them: from then on nothing works.
func (d *Disk) CutAfter(writes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt = d.writes + writes
}

// Sync commits all.
func (d *Disk) Sync() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commit()
	var all func(f *file)
	all = func(f *file) {
		f.synced = slices.Clone(f.data)
		for _, below := range f.names {
			all(below)
		}
	}
	all(d.root)
}

// commit makes the names durable. The caller holds mu.
func (d *Disk) commit() {
	for _, f := range d.pending {
		f()
	}
	d.pending = nil
}

// Survives writes to dir what a disk has after the cut, by chance: of the names
// that were not committed the first few, of the pages that were not synced none,
// some, or the first few and a part of the next.
func (d *Disk) Survives(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	for _, f := range d.pending[:rand.N(len(d.pending)+1)] {
		f()
	}
	return d.root.survives(dir)
}

func (f *file) survives(path string) error {
	if f.names == nil {
		return os.WriteFile(path, f.torn(), os.FileMode(f.mode&0o777))
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	for name, below := range f.kept {
		if err := below.survives(filepath.Join(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// torn is the content of a file after the cut.
func (f *file) torn() []byte {
	switch rand.N(3) {
	case 0:
		return f.synced
	case 1:
		text := make([]byte, len(f.data))
		copy(text, f.synced)
		for at := 0; at < len(text); at += page {
			if end := min(at+page, len(text)); rand.N(2) == 0 {
				copy(text[at:end], f.data[at:end])
			}
		}
		return text
	}
	text := slices.Clone(f.data)
	at := rand.N(len(text)/sector+1) * sector
	clear(text[min(at, len(text)):])
	copy(text[min(at, len(text)):], f.synced[min(at, len(f.synced)):])
	return text
}

// node is a file as the kernel sees it.
type node struct {
	fs.Inode
	disk *Disk
	file *file
}

var (
	_ fs.NodeLookuper  = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeReaddirer = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
)

// change does one thing that a cut may come before.
func (n *node) change(f func()) syscall.Errno {
	d := n.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cutAt > 0 && d.writes >= d.cutAt {
		d.dead = true
	}
	if d.dead {
		return syscall.EIO
	}
	d.writes++
	f()
	return 0
}

// look does one that changes nothing.
func (n *node) look(f func() syscall.Errno) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if n.disk.dead {
		return syscall.EIO
	}
	return f()
}

func (n *node) child(ctx context.Context, f *file) *fs.Inode {
	return n.NewInode(ctx, &node{disk: n.disk, file: f}, fs.StableAttr{Mode: f.mode & syscall.S_IFMT, Ino: f.number})
}

// link gives a file a name; nil: takes the name away.
func (d *Disk) link(dir *file, name string, f *file) {
	set := func(names map[string]*file) {
		if f == nil {
			delete(names, name)
		} else {
			names[name] = f
		}
	}
	set(dir.names)
	d.pending = append(d.pending, func() { set(dir.kept) })
}

func (f *file) attr(out *fuse.Attr) {
	out.Ino, out.Mode, out.Size, out.Nlink = f.number, f.mode, uint64(len(f.data)), 1
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	var found *file
	errno := n.look(func() syscall.Errno {
		if found = n.file.names[name]; found == nil {
			return syscall.ENOENT
		}
		found.attr(&out.Attr)
		return 0
	})
	if errno != 0 {
		return nil, errno
	}
	return n.child(ctx, found), 0
}

func (n *node) Create(ctx context.Context, name string, _, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	var made *file
	errno := n.change(func() {
		made = n.disk.newFile(syscall.S_IFREG | mode&0o777)
		n.disk.link(n.file, name, made)
		made.attr(&out.Attr)
	})
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return n.child(ctx, made), nil, fuse.FOPEN_DIRECT_IO, 0
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	var made *file
	errno := n.change(func() {
		made = n.disk.newFile(syscall.S_IFDIR | mode&0o777)
		n.disk.link(n.file, name, made)
		made.attr(&out.Attr)
	})
	if errno != 0 {
		return nil, errno
	}
	return n.child(ctx, made), 0
}

// Rename is one change of names: after a cut both have changed, or neither.
func (n *node) Rename(_ context.Context, name string, parent fs.InodeEmbedder, newName string, _ uint32) syscall.Errno {
	return n.change(func() {
		d, from, to := n.disk, n.file, parent.(*node).file
		f := from.names[name]
		before := len(d.pending)
		d.link(to, newName, f)
		d.link(from, name, nil)
		both := slices.Clone(d.pending[before:])
		d.pending = append(d.pending[:before], func() { both[0](); both[1]() })
	})
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	return n.change(func() { n.disk.link(n.file, name, nil) })
}

func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	var list []fuse.DirEntry
	errno := n.look(func() syscall.Errno {
		for _, name := range slices.Sorted(maps.Keys(n.file.names)) {
			f := n.file.names[name]
			list = append(list, fuse.DirEntry{Name: name, Ino: f.number, Mode: f.mode})
		}
		return 0
	})
	return fs.NewListDirStream(list), errno
}

func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, n.look(func() syscall.Errno { return 0 })
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	var got []byte
	errno := n.look(func() syscall.Errno {
		if off < int64(len(n.file.data)) {
			got = slices.Clone(n.file.data[off:min(int(off)+len(dest), len(n.file.data))])
		}
		return 0
	})
	return fuse.ReadResultData(got), errno
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	errno := n.change(func() {
		if more := int(off) + len(data) - len(n.file.data); more > 0 {
			n.file.data = append(n.file.data, make([]byte, more)...)
		}
		copy(n.file.data[off:], data)
	})
	return uint32(len(data)), errno
}

// Fsync commits a file, or a folder, and all names.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return n.change(func() {
		n.disk.commit()
		n.file.synced = slices.Clone(n.file.data)
	})
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.look(func() syscall.Errno {
		n.file.attr(&out.Attr)
		return 0
	})
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return n.change(func() {
		if mode, ok := in.GetMode(); ok {
			n.file.mode = n.file.mode&syscall.S_IFMT | mode&0o777
		}
		if size, ok := in.GetSize(); ok {
			n.file.data = append(n.file.data[:min(int(size), len(n.file.data))], make([]byte, max(0, int(size)-len(n.file.data)))...)
		}
		n.file.attr(&out.Attr)
	})
}
