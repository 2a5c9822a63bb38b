package object

import (
	"math"
	"strconv"
)

// NewFloat is a number held as float64, which must be finite.
func NewFloat(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		panic("object: JSON has no number for " + strconv.FormatFloat(f, 'g', -1, 64))
	}
	return Value{kind: Number, float: true, word: math.Float64bits(f)}
}

// Int is the value of a number that is a whole one in the range of int64, however it was written (1.0 is one).
func (v *Value) Int() (int64, bool) {
	if v == nil || v.kind != Number {
		return 0, false
	}
	if !v.float {
		return int64(v.word), true
	}
	f := math.Float64frombits(v.word)
	// -2^63 is a float64, 2^63-1 is not: the range of floats that fit is half open.
	if f != math.Trunc(f) || f < -(1<<63) || f >= 1<<63 {
		return 0, false
	}
	return int64(f), true
}

// Float is the value of a number as float64, 0 for anything else.
func (v *Value) Float() float64 {
	if v == nil || v.kind != Number {
		return 0
	}
	if v.float {
		return math.Float64frombits(v.word)
	}
	return float64(int64(v.word))
}

// IsFloat reports a number that upstream decodes as float64: written with a fraction, with an exponent, or too large
// for int64.
func (v *Value) IsFloat() bool { return v != nil && v.kind == Number && v.float }

// HasFloat reports whether v is a float, or has one in it.
func (v *Value) HasFloat() bool {
	if v.IsFloat() {
		return true
	}
	c := v.children()
	for i := range c {
		if c[i].HasFloat() {
			return true
		}
	}
	return false
}

func equalNumbers(a, b *Value) bool {
	if a.float == b.float {
		return a.word == b.word || a.float && a.Float() == b.Float()
	}
	i, ok := a.Int()
	j, also := b.Int()
	return ok && also && i == j
}

// appendNumber writes a number as encoding/json writes the int64 or float64, but negative zero as 0: read back, it would
// be the integer.
func appendNumber(dst []byte, v *Value) []byte {
	if !v.float {
		return strconv.AppendInt(dst, int64(v.word), 10)
	}
	f := math.Float64frombits(v.word)
	if f == 0 {
		return append(dst, '0')
	}
	format := byte('f')
	if abs := math.Abs(f); abs < 1e-6 || abs >= 1e21 {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	// The exponent has no leading zero: e-9, not e-09.
	if n := len(dst); format == 'e' && n >= 4 && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}
