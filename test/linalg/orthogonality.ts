import { eye, type Tensor } from '../../lib/index.js'

/** ‖QᵀQ − I‖ in float64. */
export function orthogonality(q: Tensor): number {
  const x = q.to('float64')
  return x.T.matmul(x)
    .sub(eye(x.shape[1] as number, { dtype: 'float64' }))
    .norm()
    .item()
}
