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
  readonly code: ErrorCode

  constructor(message: string, code: ErrorCode = 'INTERNAL', options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}

/** A value that is missing, of the wrong kind or out of its range. */
export class ArgumentError extends PalimpsestError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'ARGUMENT', options)
  }
}

/** Shapes that do not fit each other or the operation. */
export class ShapeError extends PalimpsestError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'SHAPE', options)
  }
}

/** An element type that the operation does not take. */
export class DTypeError extends PalimpsestError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'DTYPE', options)
  }
}

/** No such device, a tensor on the wrong one, no memory left on it, or no engine that loads. */
export class DeviceError extends PalimpsestError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'DEVICE', options)
  }
}

/** A tensor that was disposed, or a typed array whose buffer was detached. */
export class DisposedError extends PalimpsestError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'DISPOSED', options)
  }
}

/** NaN or Inf where they are not allowed, or an iteration that does not converge. */
export class NumericalError extends PalimpsestError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'NUMERICAL', options)
  }
}

/** A file that is malformed, truncated or hostile. */
export class FormatError extends PalimpsestError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'FORMAT', options)
  }
}

/** The caller's AbortSignal fired; parameters and state are as before the call. */
export class AbortError extends PalimpsestError {
  constructor(message = 'the operation was aborted', options?: ErrorOptions) {
    super(message, 'ABORT', options)
  }
}

const classes: Partial<Record<ErrorCode, new (message: string) => PalimpsestError>> = {
  ARGUMENT: ArgumentError,
  SHAPE: ShapeError,
  DTYPE: DTypeError,
  DEVICE: DeviceError,
  DISPOSED: DisposedError,
  NUMERICAL: NumericalError,
  FORMAT: FormatError,
  ABORT: AbortError,
}

/** The error of the class that a code belongs to. The engine calls this to throw. */
export function errorOf(code: ErrorCode, message: string): PalimpsestError {
  const Class = classes[code]
  return Class ? new Class(message) : new PalimpsestError(message, code)
}
