package describe

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/klauspost/compress/flate"
)

// piece is a part of a document, compressed so that parts compressed on their own can be strung together: a raw deflate
// stream that refers to nothing before itself and ends at a byte, without the mark of the last block. With the sizes and
// checksums of the parts, the gzip form of the whole costs no compression.
type piece struct {
	deflated []byte
	size     int    // of the text
	sum      uint32 // CRC-32 of the text
}

var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is a valid one
	}
	return w
}}

// newPiece compresses a text, which is not kept.
func newPiece(text []byte) (piece, error) {
	var out bytes.Buffer
	z := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(z)
	z.Reset(&out)
	if _, err := z.Write(text); err != nil {
		return piece{}, err
	}
	if err := z.Flush(); err != nil {
		return piece{}, err
	}
	return piece{deflated: slices.Clone(out.Bytes()), size: len(text), sum: crc32.ChecksumIEEE(text)}, nil
}

// storedPiece is a short text as it is, in a block of its own; at most 65,535 bytes.
func storedPiece(text []byte) piece {
	b := make([]byte, 0, len(text)+5)
	b = append(b, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	b = binary.LittleEndian.AppendUint16(b, ^uint16(len(text)))
	return piece{deflated: append(b, text...), size: len(text), sum: crc32.ChecksumIEEE(text)}
}

// lastBlock is an empty block that is marked as the last.
var lastBlock = []byte{3, 0}

// gzipHead is the header of a gzip stream that says nothing of itself.
var gzipHead = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

// gzipTail ends a gzip stream of pieces: the last block, the checksum and the size of the whole text.
func gzipTail(pieces []piece) []byte {
	size, sum := 0, uint32(0)
	for _, p := range pieces {
		size += p.size
		sum = joinSums(sum, p.sum, p.size)
	}
	tail := binary.LittleEndian.AppendUint32(slices.Clone(lastBlock), sum)
	return binary.LittleEndian.AppendUint32(tail, uint32(size))
}

// joinSums is the CRC-32 of two texts in a row, from theirs and the size of the second. A checksum is a polynomial over
// the field of two elements, lowest bit first: what precedes n bytes counts times x to the 8n.
func joinSums(first, second uint32, size int) uint32 {
	for i := 3; size > 0; i++ {
		if size&1 != 0 {
			first = timesModulo(first, squares()[i])
		}
		size >>= 1
	}
	return first ^ second
}

// squares are x to the powers 1, 2, 4, 8, ... modulo the CRC's polynomial: 64 of them, more than any size has bits.
var squares = sync.OnceValue(func() *[67]uint32 {
	s := &[67]uint32{1 << 30}
	for i := 1; i < len(s); i++ {
		s[i] = timesModulo(s[i-1], s[i-1])
	}
	return s
})

// timesModulo multiplies two polynomials modulo the CRC's.
func timesModulo(a, b uint32) uint32 {
	var product uint32
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			product ^= b
		}
		carry := b & 1
		if b >>= 1; carry != 0 {
			b ^= crc32.IEEE
		}
	}
	return product
}
