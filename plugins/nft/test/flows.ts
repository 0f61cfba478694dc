/** Single flows against this mechanism: the kit's own. */
export { accept, arrival, attempt, connect, passes } from '@weir/core/testing';
