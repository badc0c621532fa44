/** What can go wrong, one class a kind. Every message names the argument, what was given and what was expected. */

/** The errors' codes; each belongs to one class. */
export type ErrorCode =
  | 'ARGUMENT'
  | 'SHAPE'
  | 'DTYPE'
  | 'DEVICE'
  | 'DISPOSED'
  | 'NUMERICAL'
  | 'FORMAT'
  | 'ABORT'
  | 'INTERNAL'

/** Base class of all errors that this package throws on purpose. */
export class PalimpsestError extends Error {
  /** The class's; every error carries it too. */
  static readonly code: ErrorCode = 'INTERNAL'
  readonly code: ErrorCode

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = new.target.code
    this.name = new.target.name
  }
}

/** A value that is missing, of the wrong kind or out of its range. */
export class ArgumentError extends PalimpsestError {
  static override readonly code: ErrorCode = 'ARGUMENT'
}

/** Shapes that do not fit each other or the operation. */
export class ShapeError extends PalimpsestError {
  static override readonly code: ErrorCode = 'SHAPE'
}

/** An element type that the operation does not take. */
export class DTypeError extends PalimpsestError {
  static override readonly code: ErrorCode = 'DTYPE'
}

/** No such device, a tensor on the wrong one, no memory left on it, or no engine that loads. */
export class DeviceError extends PalimpsestError {
  static override readonly code: ErrorCode = 'DEVICE'
}

/** A tensor that was disposed, or a typed array whose buffer was detached. */
export class DisposedError extends PalimpsestError {
  static override readonly code: ErrorCode = 'DISPOSED'
}

/** NaN or Inf where they are not allowed, or an iteration that does not converge. */
export class NumericalError extends PalimpsestError {
  static override readonly code: ErrorCode = 'NUMERICAL'
}

/** A file that is malformed, truncated or hostile. */
export class FormatError extends PalimpsestError {
  static override readonly code: ErrorCode = 'FORMAT'
}

/** The caller's AbortSignal fired; parameters and state are as before the call. */
export class AbortError extends PalimpsestError {
  static override readonly code: ErrorCode = 'ABORT'

  constructor(message = 'the operation was aborted', options?: ErrorOptions) {
    super(message, options)
  }
}

const classes = [
  ArgumentError,
  ShapeError,
  DTypeError,
  DeviceError,
  DisposedError,
  NumericalError,
  FormatError,
  AbortError,
]

/** The error of the class that a code belongs to. The engine calls this to throw. */
export function errorOf(code: ErrorCode, message: string): PalimpsestError {
  const Class = classes.find((one) => one.code === code) ?? PalimpsestError
  return new Class(message)
}
