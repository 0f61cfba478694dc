/** `10.0.0.1:80` and `[2001:db8::1]:80` on the command lines of peers. */

/** @throws RangeError when the text is neither form. */
export function parseEndpoint(text: string): { readonly address: string; readonly port: number } {
  const [, six, four, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):(\d{1,5})$/.exec(text) ?? [];
  const address = six ?? four;
  if (address === undefined || port === undefined || Number(port) > 65_535) {
    throw new RangeError(`"${text}" is not ADDRESS:PORT`);
  }
  return { address, port: Number(port) };
}
