package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"

	"pintle.dev/api"
)

// A backup is one file: a magic line, then a zstd stream of
//
//	uvarint             the revision of the backup
//	'T' GROUP NAME      a table begins; strings are a uvarint length and bytes
//	'O' REVISION RECORD an object of it: uvarint, then a uvarint length and Record.AppendBinary
//	'E' uvarint         the end: the number of objects
//	32 bytes            SHA-256 of all of the stream before it
const backupMagic = "PINTLE BACKUP 1\n"

// RestoreShift is added to every revision by a restore, so that none that was given out after the backup was taken is
// given out again (S1): a store writes fewer than that between a backup and the loss of its data.
const RestoreShift api.Revision = 1 << 32

// backupWindow bounds the memory of writing and of reading a backup's stream.
const backupWindow = 1 << 20

// maxBackupRecord bounds what a damaged length can make a reader allocate. Objects are at most 3 MiB on the wire.
const maxBackupRecord = 64 << 20

// Backup writes all objects, at one revision, which it returns. Reads and writes go on meanwhile.
func (s *Store) Backup(ctx context.Context, w io.Writer) (api.Revision, error) {
	v, err := s.View(ctx, 0)
	if err != nil {
		return 0, fmt.Errorf("back the store up: %w", err)
	}
	if err := writeBackup(ctx, w, v); err != nil {
		return 0, fmt.Errorf("back the store up at revision %d: %w", v.revision, err)
	}
	return v.revision, nil
}

func writeBackup(ctx context.Context, w io.Writer, v View) error {
	if _, err := io.WriteString(w, backupMagic); err != nil {
		return err
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(backupWindow))
	if err != nil {
		return err
	}
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(z, sum), 64<<10)
	b := binary.AppendUvarint(nil, uint64(v.revision))
	var body []byte
	count := uint64(0)
	for r := range v.Resources() {
		b = appendBytes(append(b, 'T'), []byte(r.Group))
		b = appendBytes(b, []byte(r.Name))
		for rec := range v.All(r, "") {
			if count++; count%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			body = rec.AppendBinary(body[:0])
			b = appendBytes(binary.AppendUvarint(append(b, 'O'), uint64(rec.Revision())), body)
			if _, err := out.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	if _, err := out.Write(binary.AppendUvarint(append(b, 'E'), count)); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if _, err := z.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return z.Close()
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// ReadBackup calls put for every object of a backup, stamped as it is to be restored, and returns the revision that the
// restored store is at. Only when it returns without an error has the backup been verified and may be used. What put
// refuses is not the backup's fault; all else that goes wrong is.
func ReadBackup(r io.Reader, put func(api.Resource, *api.Record) error) (api.Revision, error) {
	var refused error
	rev, err := readBackup(r, func(of api.Resource, rec *api.Record) error {
		refused = put(of, rec)
		return refused
	})
	switch {
	case err == nil:
		return rev, nil
	case refused != nil, errors.Is(err, errNoBackup):
		return 0, fmt.Errorf("read the backup: %w", err)
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return 0, fmt.Errorf("the backup is damaged or cut short (%w): restore another copy of it, or an older one", err)
}

var errNoBackup = errors.New("this is not a Pintle backup of a version known here")

func readBackup(r io.Reader, put func(api.Resource, *api.Record) error) (api.Revision, error) {
	magic := make([]byte, len(backupMagic))
	if _, err := io.ReadFull(r, magic); err != nil {
		return 0, err
	}
	if string(magic) != backupMagic {
		return 0, errNoBackup
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(backupWindow))
	if err != nil {
		return 0, err
	}
	defer z.Close()
	in := &backupReader{r: bufio.NewReaderSize(z, 64<<10), sum: sha256.New()}
	n := in.uvarint()
	var resource api.Resource
	var last api.Key
	named := false
	for count := uint64(0); in.err == nil; {
		switch kind := in.byte(); {
		case in.err != nil:
		case kind == 'T':
			resource = api.Resource{Group: string(in.bytes()), Name: string(in.bytes())}
			named, last = true, api.Key{}
		case kind == 'O' && named:
			rev := api.Revision(in.uvarint())
			body := in.bytes()
			if in.err != nil {
				break
			}
			rec, err := api.DecodeRecord(body, rev+RestoreShift)
			if err != nil {
				return 0, err
			}
			if rev == 0 || rev > api.Revision(n) || rec.Key().Compare(last) <= 0 {
				return 0, fmt.Errorf("object %q of %s is out of order", rec.Key(), resource)
			}
			last = rec.Key()
			count++
			if err := put(resource, rec); err != nil {
				return 0, err
			}
		case kind == 'E':
			if want := in.uvarint(); in.err == nil && want != count {
				return 0, fmt.Errorf("%d objects of %d are there", count, want)
			}
			return api.Revision(n) + RestoreShift, in.end()
		default:
			return 0, fmt.Errorf("an entry of unknown kind %q", kind)
		}
	}
	return 0, in.err
}

// backupReader reads the entries of a backup, keeping the first error.
type backupReader struct {
	r   *bufio.Reader
	sum hash.Hash
	err error
}

// ReadByte makes it an io.ByteReader for uvarint.
func (b *backupReader) ReadByte() (byte, error) {
	c, err := b.r.ReadByte()
	if err == nil {
		b.sum.Write([]byte{c})
	}
	return c, err
}

func (b *backupReader) byte() (c byte) {
	if b.err == nil {
		c, b.err = b.ReadByte()
	}
	return c
}

func (b *backupReader) uvarint() (n uint64) {
	if b.err == nil {
		n, b.err = binary.ReadUvarint(b)
	}
	return n
}

func (b *backupReader) bytes() []byte {
	n := b.uvarint()
	if b.err == nil && n > maxBackupRecord {
		b.err = fmt.Errorf("an entry of %d bytes", n)
	}
	if b.err != nil {
		return nil
	}
	// The length may be damage: what is not there is not allocated.
	var buf bytes.Buffer
	if _, b.err = io.CopyN(&buf, b.r, int64(n)); b.err != nil {
		return nil
	}
	b.sum.Write(buf.Bytes())
	return buf.Bytes()
}

// end compares the checksum and expects nothing after it.
func (b *backupReader) end() error {
	if b.err != nil {
		return b.err
	}
	want := b.sum.Sum(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(b.r, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("its checksum does not match")
	}
	switch _, err := b.r.ReadByte(); {
	case err == nil:
		return errors.New("there is more after its end")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}
