/** The part of dns-packet 5.6.1 that Weir uses: record data to and from bytes, and the names of record types. */
declare module 'dns-packet' {
  interface RecordCodec {
    /** The data behind its length in 16 bits. */
    encode(data: unknown): Buffer;
  }
  const packet: {
    record(type: string): RecordCodec;
    decode(message: Buffer): {
      id: number;
      rcode: string;
      flag_aa: boolean;
      flag_tc: boolean;
      flag_ra: boolean;
      flag_rd: boolean;
      questions: Array<{ name: string; type: string; class: string }>;
      answers: Array<{ name: string; type: string; ttl: number; data: unknown }>;
      authorities: Array<{ name: string; type: string; ttl: number; data: unknown }>;
      additionals: Array<{ name: string; type: string; udpPayloadSize?: number; extendedRcode?: number }>;
    };
    encode(message: unknown): Buffer;
  };
  export default packet;
}

declare module 'dns-packet/types.js' {
  const types: {
    /** `UNKNOWN_65` for a number without a name. */
    toString(type: number): string;
    /** 0 for a name without a number. */
    toType(name: string): number;
  };
  export default types;
}
