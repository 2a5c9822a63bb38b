package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// file is one projected file.
type file struct {
	data []byte
	mode os.FileMode
	uid  *int64 // owner; nil leaves it with root
}

const dataLink = "..data"

// project makes the directory show exactly these files, at once. Paths are relative, with slashes. It changes nothing
// when they are there already.
func project(dir string, files map[string]file, gid *int64) error {
	for p := range files {
		if !filepath.IsLocal(p) || strings.HasPrefix(path.Base(p), "..") || strings.HasPrefix(p, "..") {
			return fmt.Errorf("invalid path %q: must be relative and below the volume", p)
		}
	}
	old, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the volume's present state: %w", err)
	}
	if old != "" {
		same, err := holds(filepath.Join(dir, old), files)
		if err != nil {
			return err
		}
		if same {
			return nil
		}
	}
	next, err := os.MkdirTemp(dir, time.Now().UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return fmt.Errorf("making the volume's next state: %w", err)
	}
	if err := fill(next, files, gid); err != nil {
		return errors.Join(err, os.RemoveAll(next))
	}
	tmp := filepath.Join(dir, "..data_tmp")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a half-made link: %w", err)
	}
	if err := os.Symlink(filepath.Base(next), tmp); err != nil {
		return fmt.Errorf("linking the volume's next state: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, dataLink)); err != nil {
		return fmt.Errorf("switching to the volume's next state: %w", err)
	}
	if err := link(dir, files); err != nil {
		return err
	}
	if old == "" {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(dir, old)); err != nil {
		return fmt.Errorf("removing the volume's former state: %w", err)
	}
	return nil
}

// holds reports whether a state has exactly these files.
func holds(dir string, files map[string]file) (bool, error) {
	n := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		f, ok := files[filepath.ToSlash(rel)]
		if !ok {
			return errDiffers
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if !bytes.Equal(b, f.data) {
			return errDiffers
		}
		return nil
	})
	switch {
	case errors.Is(err, errDiffers) || errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading the volume's present state: %w", err)
	}
	return n == len(files), nil
}

var errDiffers = errors.New("differs")

func fill(dir string, files map[string]file, gid *int64) error {
	if err := share(dir, 0o755, gid); err != nil {
		return err
	}
	for name, f := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := makeDirs(dir, path.Dir(name), gid); err != nil {
			return err
		}
		if err := os.WriteFile(p, f.data, 0o600); err != nil {
			return fmt.Errorf("writing a file of the volume: %w", err)
		}
		mode := f.mode
		if gid != nil {
			mode |= 0o440
		}
		if gid != nil || f.uid != nil {
			if err := os.Lchown(p, owner(f.uid), owner(gid)); err != nil {
				return fmt.Errorf("giving a file of the volume to its owner: %w", err)
			}
		}
		if err := os.Chmod(p, mode); err != nil {
			return fmt.Errorf("setting the mode of a file of the volume: %w", err)
		}
	}
	return nil
}

// makeDirs makes the directories of a path below a volume.
func makeDirs(dir, sub string, gid *int64) error {
	if sub == "." {
		return nil
	}
	if err := makeDirs(dir, path.Dir(sub), gid); err != nil {
		return err
	}
	p := filepath.Join(dir, filepath.FromSlash(sub))
	switch err := os.Mkdir(p, 0o755); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return fmt.Errorf("making a directory of the volume: %w", err)
	}
	return share(p, 0o755, gid)
}

// share sets a directory's mode and, where the pod has an fsGroup, gives the directory and what is made in it to the group.
func share(dir string, mode os.FileMode, gid *int64) error {
	if gid != nil {
		if err := os.Chown(dir, -1, int(*gid)); err != nil {
			return fmt.Errorf("giving a directory of the volume to group %d: %w", *gid, err)
		}
		mode |= os.ModeSetgid | 0o550
	}
	if err := os.Chmod(dir, mode); err != nil {
		return fmt.Errorf("opening a directory of the volume to its readers: %w", err)
	}
	return nil
}

func owner(id *int64) int {
	if id == nil {
		return -1
	}
	return int(*id)
}

// link makes one link through ..data for the first element of each path, and removes those no longer needed.
func link(dir string, files map[string]file) error {
	tops := map[string]bool{}
	for name := range files {
		top, _, _ := strings.Cut(name, "/")
		tops[top] = true
	}
	present, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading the volume: %w", err)
	}
	for _, e := range present {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		if tops[e.Name()] {
			delete(tops, e.Name())
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("removing a file from the volume: %w", err)
		}
	}
	for top := range tops {
		if err := os.Symlink(filepath.Join(dataLink, top), filepath.Join(dir, top)); err != nil {
			return fmt.Errorf("adding a file to the volume: %w", err)
		}
	}
	return nil
}
