package cluster

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/store"
	"pintle.dev/store/pebble"
)

// BackupPath is where a running server gives a backup of the cluster to administrators (GET): the authority with its keys,
// so that the kubeconfigs and tokens it has issued go on working on what is restored, and all objects.
const BackupPath = "/debug/backup"

// backedUp serves BackupPath. A backup that fails on the way ends without its checksum, and the connection with it.
func (s *System) backedUp(next http.Handler, a *auth.Authenticator, z *auth.Authorizer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != BackupPath {
			next.ServeHTTP(w, r)
			return
		}
		if !administrator(w, r, a, z) {
			return
		}
		if r.Method != http.MethodGet {
			http.Error(w, "a backup is had by GET", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		var rev api.Revision
		err := writeAuthority(w, s.authority)
		if err == nil {
			rev, err = s.store.Backup(r.Context(), w)
		}
		if err != nil {
			s.log.Error("backup", "error", err)
			panic(http.ErrAbortHandler)
		}
		s.log.Info("backup", "revision", rev)
	})
}

// A backup begins with authorityMagic, the length of the authority's bundle as four bytes (big endian), the bundle, and
// its SHA-256; package store's backup of the objects follows. One without the former restores to a cluster that has a
// new authority made.
const (
	authorityMagic = "pintle authority 1\n"
	mostAuthority  = 1 << 20 // bytes
)

func writeAuthority(w io.Writer, a *auth.Authority) error {
	bundle, err := a.Bundle()
	if err != nil {
		return err
	}
	head := binary.BigEndian.AppendUint32([]byte(authorityMagic), uint32(len(bundle)))
	sum := sha256.Sum256(bundle)
	_, err = w.Write(slices.Concat(head, bundle, sum[:]))
	return err
}

// readAuthority reads the authority at the start of a backup; nil when that has none.
func readAuthority(r *bufio.Reader) (*auth.Authority, error) {
	if magic, err := r.Peek(len(authorityMagic)); err != nil || string(magic) != authorityMagic {
		return nil, nil // what follows says what is wrong, if anything
	}
	head := make([]byte, len(authorityMagic)+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("read the backup's authority: %w", err)
	}
	n := binary.BigEndian.Uint32(head[len(authorityMagic):])
	if n > mostAuthority {
		return nil, fmt.Errorf("read the backup's authority: %d bytes are too many, the backup is damaged", n)
	}
	body := make([]byte, int(n)+sha256.Size)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("read the backup's authority: %w", err)
	}
	bundle, want := body[:n], body[n:]
	if sum := sha256.Sum256(bundle); !bytes.Equal(sum[:], want) {
		return nil, errors.New("read the backup's authority: the checksum does not fit, the backup is damaged")
	}
	return auth.ParseBundle(bundle)
}

// VerifyBackup reads a backup to its end, and returns the revision it was taken at and the number of its objects.
func VerifyBackup(backup io.Reader) (rev api.Revision, objects int, err error) {
	r := bufio.NewReader(backup)
	if _, err := readAuthority(r); err != nil {
		return 0, 0, err
	}
	rev, err = store.ReadBackup(r, func(api.Resource, *api.Record) error {
		objects++
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	return rev - store.RestoreShift, objects, nil
}

// restoringFile is in a data directory from before a restore writes anything else until the store is whole. What is there
// beside it is no cluster: started, it would be an empty one under the keys of the backup, without a word.
const restoringFile = "restoring"

// interrupted reports whether a restore into a data directory was broken off before the store was whole.
func interrupted(data string) (bool, error) {
	if _, err := os.Stat(filepath.Join(data, restoringFile)); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if errors.Is(err, syscall.ENOTDIR) {
		return false, fmt.Errorf("the data directory %s is not a directory, or lies below a file", data)
	} else if err != nil {
		return false, fmt.Errorf("looking for a restore that was broken off: %w", err)
	}
	files, err := os.ReadDir(filepath.Join(data, storeDirectory))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("looking for a restore that was broken off: %w", err)
	}
	return len(files) == 0, nil // the store gets its name when it is whole
}

// Restore makes a new data directory of a backup; what a restore that was broken off has left there goes. It returns the
// revision the cluster will be at, and whether the backup held the authority.
func Restore(ctx context.Context, backup io.Reader, data string) (rev api.Revision, authority bool, err error) {
	r := bufio.NewReader(backup)
	a, err := readAuthority(r)
	if err != nil {
		return 0, false, err
	}
	pki, mark := filepath.Join(data, pkiDirectory), filepath.Join(data, restoringFile)
	broken, err := interrupted(data)
	if err != nil {
		return 0, false, err
	}
	if a != nil && !broken {
		switch _, err := os.Stat(pki); {
		case err == nil:
			return 0, false, fmt.Errorf("%s has certificates already, and so has the backup: choose another directory", data)
		case !errors.Is(err, fs.ErrNotExist):
			return 0, false, fmt.Errorf("looking for certificates: %w", err)
		}
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return 0, false, fmt.Errorf("making the data directory: %w", err)
	}
	if err := auth.WriteFile(mark, nil, 0o600); err != nil {
		return 0, false, err
	}
	defer func() {
		if err != nil && a != nil {
			err = errors.Join(err, os.RemoveAll(pki))
		}
		err = errors.Join(err, os.Remove(mark))
	}()
	if a != nil {
		// Before the store, which must never be there without its keys: starting would make others, without a word.
		if err := errors.Join(os.RemoveAll(pki), a.Save(pki)); err != nil {
			return 0, false, err
		}
	}
	if rev, err = pebble.Restore(ctx, r, filepath.Join(data, storeDirectory), pebble.Options{}); err != nil {
		return 0, false, fmt.Errorf("make a cluster of the backup: %w", err)
	}
	return rev, a != nil, nil
}
